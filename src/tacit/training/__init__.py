"""From a store to a run: the training loop, what it survives, and the heads and calibration that follow it."""

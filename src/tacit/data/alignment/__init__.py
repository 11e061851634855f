"""Streams on their own clocks, brought to one control clock: what a mapping asks for, and what was done."""

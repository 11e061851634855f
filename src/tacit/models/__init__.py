"""Encoders, predictors, the JEPA that joins them, and the heads that read its latents."""

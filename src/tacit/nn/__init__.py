"""Building blocks: pure tensors in, tensors out."""

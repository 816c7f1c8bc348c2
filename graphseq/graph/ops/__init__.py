"""Functions on tensors, each with a naive twin."""

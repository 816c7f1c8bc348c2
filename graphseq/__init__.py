"""Graph and sequence learning on PyTorch and PyTorch Geometric, with one training loop."""

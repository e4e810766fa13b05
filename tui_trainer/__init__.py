"""Train PyTorch models in a terminal, in five gated phases."""

__version__ = "0.1.0"

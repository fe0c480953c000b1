"""The weights of a network before training."""

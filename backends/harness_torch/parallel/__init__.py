"""Data-parallel training: the ranks, their replicas and what travels between them."""

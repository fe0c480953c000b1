"""Proof that an engine computes the reference's function: parity, gradients, initial weights."""

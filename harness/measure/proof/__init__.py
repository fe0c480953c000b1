"""Proof that an engine computes the reference's function: parity, gradient flow, cell proof, initial weights."""

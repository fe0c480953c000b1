"""The kernel of a cell, written from its graph as statements on tensors that stay."""

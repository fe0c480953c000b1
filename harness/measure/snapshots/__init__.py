"""Snapshots of training: to go on from one, and the weights alone for probes over training."""

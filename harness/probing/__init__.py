"""Runs probes on the stored weights of a trained network, each in a process of its own."""

"""Runs launches on the nodes of a Ray cluster."""

"""Charts of what probes measured: over the lag, and over training."""

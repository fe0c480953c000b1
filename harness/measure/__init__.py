"""One trial in one process: initial weights, parity with the reference, gradient flow, the clock and the runner."""

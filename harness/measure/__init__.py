"""One trial in one process: initial weights, parity with the reference, gradient flow, the clock and the runner."""

REFERENCE_BACKEND = (
    "numpy"  # its default variant in float64 is what every gradient is compared with
)

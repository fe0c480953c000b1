"""Measures one trial in one process."""

# Every gradient is compared with that of its default variant in float64.
REFERENCE_BACKEND = "numpy"
ISOLATIONS = ("launch", "backend")  # what has its own process; the first is the default

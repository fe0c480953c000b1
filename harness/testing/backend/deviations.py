"""The check of a variant that declares a deviation from its cell's equations."""

from __future__ import annotations

import numpy as np

from harness.testing.bench import DEEP, Bench
from harness.testing.compare import error_of


def it_differs_from_the_equations_as_it_says(bench: Bench) -> None:
    """Its outputs or gradients differ from the reference; otherwise there is no deviation."""
    assert bench.deviation is not None
    ours, theirs = bench.trainer(DEEP), bench.equations_trainer(DEEP)
    batches = [trainer.put(DEEP.make_batch()) for trainer in (ours, theirs)]
    errors = [error_of(ours.outputs(batches[0]), theirs.outputs(batches[1]))]
    actual, expected = ours.gradients(batches[0]), theirs.gradients(batches[1])
    errors.append(error_of(actual.hidden, expected.hidden))
    for name, gradient in expected.parameters.items():
        errors.append(error_of(actual.parameters[name], gradient))
    largest = float(np.max(errors))
    assert largest > bench.tolerance, (
        f"deviation: outputs and gradients equal the reference to {largest:.1e}: this variant "
        f"computes the cell's own function, so deviation() should return None ({bench.deviation})"
    )

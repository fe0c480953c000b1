"""The check of a variant that says it computes another function than its cell's equations."""

from __future__ import annotations

import numpy as np

from harness.testing.bench import DEEP, Bench
from harness.testing.compare import error_of


def it_differs_from_the_equations_as_it_says(bench: Bench) -> None:
    """Its outputs or gradients are not the reference's: else there is no deviation."""
    assert bench.deviation is not None
    ours, theirs = bench.trainer(DEEP), bench.equations_trainer(DEEP)
    batches = [trainer.put(DEEP.make_batch()) for trainer in (ours, theirs)]
    outputs = error_of(ours.outputs(batches[0]), theirs.outputs(batches[1]))
    found, expected = (
        trainer.gradients(batch) for trainer, batch in zip((ours, theirs), batches, strict=True)
    )
    errors = [
        error_of(found.parameters[name], gradient) for name, gradient in expected.parameters.items()
    ]
    largest = float(np.max([outputs, error_of(found.hidden, expected.hidden), *errors]))
    assert largest > bench.tolerance, (
        f"deviation: outputs and gradients equal the reference to {largest:.1e}: "
        f"this variant computes the cell's own function, so deviation() should return None ({bench.deviation})"
    )

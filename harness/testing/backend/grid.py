"""The grid of shapes at which a backend must equal the reference, and a small part of it that covers all pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

from harness.contract import Dtype
from harness.contract.backend import DeviceBatch, Trainer
from harness.measure.proof.parity import STEP, applied_gradients
from harness.testing.bench import Bench, Case
from harness.testing.compare import Check, NotApplicable, agree

Grid = Literal["cover", "full", "none"]
AXES: Mapping[str, Sequence[Any]] = {
    "time_steps": (1, 7, 64, 300),
    "batch": (1, 5),
    "hidden": (1, 3, 128),
    "layers": (1, 3),
    "masked": (False, True),
    "inputs": ("token", "real"),
}
VOCABULARY = Case(
    7, batch=2, hidden=16, tokens=10_000, outputs=10_000
)  # of words: nearly a million parameters


@dataclass(frozen=True)
class Point:
    """One point of the grid: a value on each axis, by name, and the dtype among them."""

    values: tuple[tuple[str, Any], ...]

    @property
    def dtype(self) -> Dtype:
        """In which the backend computes."""
        dtype: Dtype = dict(self.values)["dtype"]
        return dtype

    def case(self) -> Case:
        """Return the small model and batch: classes are predicted from tokens, numbers from numbers."""
        shape = {name: value for name, value in self.values if name != "dtype"}
        return Case(
            **shape, loss="cross_entropy" if shape["inputs"] == "token" else "squared_error"
        )

    def pairs(self) -> set[tuple[tuple[str, Any], ...]]:
        """Return the pairs of values of two axes."""
        return set(itertools.combinations(self.values, 2))

    def __str__(self) -> str:
        at = dict(self.values)
        sizes = " ".join(
            f"{name}={at[axis]}" for name, axis in zip("TBHL", tuple(AXES)[:4], strict=True)
        )
        return f"{sizes} {at['inputs']} {'masked' if at['masked'] else 'unmasked'} {at['dtype']}"


def product(dtypes: Sequence[Dtype]) -> list[Point]:
    """Return the whole grid."""
    axes = {**AXES, "dtype": dtypes}
    return [
        Point(tuple(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())
    ]


def cover(dtypes: Sequence[Dtype]) -> list[Point]:
    """Return a few points in which every value of each axis meets every value of each other axis.

    Chosen greedily: the point that adds most new pairs, of equals the one with the least work, of
    these the first.
    """
    left, chosen = product(dtypes), list[Point]()
    missing = {pair for point in left for pair in point.pairs()}
    while missing:
        best = max(left, key=lambda point: (len(missing & point.pairs()), -_work(point)))
        chosen.append(best)
        missing -= best.pairs()
    return chosen


def grid_checks(bench: Bench, grid: Grid) -> Iterator[Check]:
    """Yield one check per point of the grid, for one variant and cell.

    A mask is data: a masked batch takes the trainer of the unmasked one, and what a backend has
    compiled for it.
    """
    points: Mapping[Grid, Callable[[Sequence[Dtype]], list[Point]]] = {
        "cover": cover,
        "full": product,
    }
    dtypes = bench.offered_dtypes
    # From a point to its masked twin there are two inputs and the dtypes; in ``cover`` there are no
    # twins.
    kept = 2 * len(dtypes) if grid == "full" else 0
    trainer_of = lru_cache(kept)(partial(stepping_trainer, bench))
    for point in points[grid](dtypes) if grid in points else ():
        name = f"every_tensor_equals_the_reference_at {point}"
        check = partial(
            every_tensor_equals_the_reference, bench, point.case(), point.dtype, trainer_of
        )
        yield Check(name, check, bench.variant, bench.cell.name)
    if grid in points and "float32" in dtypes:
        name = f"every_tensor_equals_the_reference_at V={VOCABULARY.tokens} float32"
        check = partial(every_tensor_equals_the_reference, bench, VOCABULARY, "float32", trainer_of)
        yield Check(name, check, bench.variant, bench.cell.name)


def stepping_trainer(bench: Bench, case: Case, dtype: Dtype) -> Trainer:
    """Return a trainer from whose steps the gradients can be read off."""
    return bench.new_trainer(case, STEP, dtype)


def every_tensor_equals_the_reference(
    bench: Bench, case: Case, dtype: Dtype, trainer_of: Callable[[Case, Dtype], Trainer]
) -> None:
    """Outputs, loss, every gradient, hidden gradients, and what one training step does to the weights."""
    tolerance = bench.tolerance_of(dtype)
    if reason := bench.why_unsupported(case, dtype, STEP):
        raise NotApplicable(reason)
    reference, trainer = (
        bench.reference_trainer(case),
        trainer_of(replace(case, masked=False), dtype),
    )
    trainer.load(case.parameters(bench.cell))
    trainer.load_state(None)
    exact, batch = reference.put(case.make_batch()), trainer.put(case.make_batch())
    agree("outputs", trainer.outputs(batch), reference.outputs(exact), tolerance)
    found, expected = trainer.gradients(batch), reference.gradients(exact)
    agree("loss", found.loss, expected.loss, tolerance)
    agree("hidden gradient", found.hidden, expected.hidden, tolerance)
    trained = trained_gradients(trainer, batch)
    for name, gradient in expected.parameters.items():
        agree(f"gradient of {name}", found.parameters[name], gradient, tolerance)
        agree(f"gradient of {name} in train_step", trained[name], gradient, tolerance)


def trained_gradients(trainer: Trainer, batch: DeviceBatch) -> dict[str, Any]:
    """Return the gradients of one training step under ``STEP``, whose loss nobody has asked for."""
    before = trainer.parameters()
    trainer.train_step(batch)
    trainer.synchronize()
    return applied_gradients(before, trainer.parameters())


def _work(point: Point) -> int:
    case = point.case()
    return case.time_steps * case.batch * case.layers * case.hidden

"""The grid of shapes at which a backend must equal the reference, and a cover of all pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

from harness.contract import Dtype, Loss
from harness.contract.backend import DeviceBatch, Trainer
from harness.measure.proof.parity import STEP, applied_gradients
from harness.testing.bench import SMALL, WIDE, Bench, Case
from harness.testing.compare import TOLERANCE, Check, NotApplicable, agree, gradients_agree

Grid = Literal["few", "cover", "full", "none"]
AXES: Mapping[str, Sequence[Any]] = {
    "time_steps": (1, 7, 64, 300),
    "batch": (1, 5),
    "hidden": (1, 3, 128),
    "layers": (1, 3),
    "masked": (False, True),
    "inputs": ("token", "real"),
}
# A vocabulary of words. The recurrence has the shape of ``SMALL``, for which it is compiled.
VOCABULARY = replace(SMALL, tokens=10_000, outputs=10_000)


@dataclass(frozen=True)
class Point:
    """One point of the grid: (axis, value) pairs, including the dtype."""

    values: tuple[tuple[str, Any], ...]

    @property
    def dtype(self) -> Dtype:
        """The dtype in which the backend computes."""
        dtype: Dtype = dict(self.values)["dtype"]
        return dtype

    def case(self) -> Case:
        """Return the case: it predicts classes from tokens, or numbers from numbers."""
        shape = {name: value for name, value in self.values if name != "dtype"}
        loss: Loss = "cross_entropy" if shape["inputs"] == "token" else "squared_error"
        return Case(**shape, loss=loss)

    def pairs(self) -> set[tuple[tuple[str, Any], ...]]:
        """Return the pairs of values of two axes."""
        return set(itertools.combinations(self.values, 2))

    def __str__(self) -> str:
        value = dict(self.values)
        sizes = " ".join(
            f"{letter}={value[axis]}" for letter, axis in zip("TBHL", tuple(AXES)[:4], strict=True)
        )
        mask = "masked" if value["masked"] else "unmasked"
        return f"{sizes} {value['inputs']} {mask} {value['dtype']}"


def product(dtypes: Sequence[Dtype]) -> list[Point]:
    """Return the whole grid."""
    axes = {**AXES, "dtype": dtypes}
    return [
        Point(tuple(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())
    ]


def cover(dtypes: Sequence[Dtype]) -> list[Point]:
    """Return a few points in which every value of each axis meets every value of each other axis.

    The choice is greedy: the point with most new pairs; of these, the first with the least work.
    """
    points, chosen = product(dtypes), list[Point]()
    missing = {pair for point in points for pair in point.pairs()}
    while missing:
        best = max(points, key=lambda point: (len(missing & point.pairs()), -_work(point)))
        chosen.append(best)
        missing -= best.pairs()
    return chosen


def grid_checks(bench: Bench, grid: Grid) -> Iterator[Check]:
    """Yield one check per point of the grid, for one variant and cell.

    A mask is data: a masked batch uses the trainer of the unmasked case, already compiled.
    """
    dtypes = bench.offered_dtypes  # asked for every grid: a wrong answer ends the list of checks
    if grid == "none":
        return
    # In ``full``, two inputs and all dtypes lie between a point and its masked twin. In ``cover``
    # there are no twins.
    cached = 2 * len(dtypes) if grid == "full" else 0
    trainer_of = lru_cache(cached)(partial(stepping_trainer, bench))
    points = product(dtypes) if grid == "full" else cover(dtypes)
    cases = [(str(point), point.case(), point.dtype) for point in points]
    if "float32" in dtypes:
        cases.append((f"V={VOCABULARY.tokens} float32", VOCABULARY, "float32"))
        if grid == "few":
            cases.append((f"H={WIDE.hidden} float32", WIDE, "float32"))
    for label, case, dtype in cases:
        name = f"every_tensor_equals_the_reference_at {label}"
        check = partial(every_tensor_equals_the_reference, bench, case, dtype, trainer_of)
        yield Check(name, check, bench.variant, bench.cell.name)


def stepping_trainer(bench: Bench, case: Case, dtype: Dtype) -> Trainer:
    """Return a trainer whose steps under ``STEP`` reveal the gradients."""
    return bench.new_trainer(case, STEP, dtype)


def every_tensor_equals_the_reference(
    bench: Bench, case: Case, dtype: Dtype, trainer_of: Callable[[Case, Dtype], Trainer]
) -> None:
    """Outputs, loss, all gradients, and the update of one training step equal the reference."""
    tolerance = TOLERANCE[dtype]
    if case != WIDE:
        bench.needs_many_shapes()
    if reason := bench.why_unsupported(case, dtype, STEP):
        raise NotApplicable(reason)
    reference = bench.reference_trainer(case)
    trainer = trainer_of(replace(case, masked=False), dtype)
    trainer.load(case.parameters(bench.cell))
    trainer.load_state(None)
    exact, batch = reference.put(case.make_batch()), trainer.put(case.make_batch())
    agree("outputs", trainer.outputs(batch), reference.outputs(exact), tolerance)
    expected = reference.gradients(exact)
    gradients_agree(trainer.gradients(batch), expected, tolerance)
    trained = trained_gradients(trainer, batch)
    for name, gradient in expected.parameters.items():
        agree(f"gradient of {name} in train_step", trained[name], gradient, tolerance)


def trained_gradients(trainer: Trainer, batch: DeviceBatch) -> dict[str, Any]:
    """Return the gradients of one training step under ``STEP``; its loss is not fetched."""
    before = trainer.parameters()
    trainer.train_step(batch)
    trainer.synchronize()
    return applied_gradients(before, trainer.parameters())


def _work(point: Point) -> int:
    case = point.case()
    return case.time_steps * case.batch * case.layers * case.hidden

"""Small models and batches, and the bench that compares a variant of a cell with the reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.contract import (
    Backend,
    Batch,
    Cell,
    Dtype,
    Execution,
    Gradients,
    Inputs,
    Loss,
    Model,
    Optimizer,
    Parameters,
    Trainer,
    Trial,
)
from harness.contract.backend import Checkpoint
from harness.plugins import query
from harness.testing.compare import TOLERANCE, NotApplicable


@dataclass(frozen=True)
class Case:
    """One small model with one batch, drawn from fixed seeds."""

    time_steps: int
    batch: int = 5
    layers: int = 1
    inputs: Literal["token", "real"] = "token"
    loss: Loss = "cross_entropy"
    masked: bool = True
    dropout: float = 0.0
    hidden: int = 4
    outputs: int = 3
    tokens: int = 5
    embedding: int | None = None
    tied_readout: bool = False

    def __str__(self) -> str:
        shape = f"T={self.time_steps}, B={self.batch}, H={self.hidden}, layers={self.layers}"
        if self.embedding is not None:
            tied = ", tied readout" if self.tied_readout else ""
            shape = f"{shape}, embedding {self.embedding}{tied}"
        return f"{shape}, {self.inputs} inputs, {self.loss}"

    def model(self, cell: Cell) -> Model:
        """Return the model."""
        inputs = Inputs(self.inputs, self.tokens if self.inputs == "token" else 2)
        return Model(
            cell,
            inputs,
            self.hidden,
            self.layers,
            self.outputs,
            self.loss,
            self.dropout,
            self.embedding,
            self.tied_readout,
        )

    def parameters(self, cell: Cell) -> Parameters:
        """Return float64 parameters, each drawn from U(-1, 1) / sqrt(H)."""
        rng, scale = np.random.default_rng(1), self.hidden**-0.5
        shapes = self.model(cell).parameter_shapes()
        return {name: rng.uniform(-scale, scale, shape) for name, shape in shapes.items()}

    def make_batch(self, seed: int = 2, *, carry: bool = False) -> Batch:
        """Return a batch; if masked, the last position and about half of the others count."""
        rng, shape = np.random.default_rng(seed), (self.time_steps, self.batch)

        def draw(classes: bool, size: int) -> NDArray[np.int32] | NDArray[np.float64]:
            if classes:
                return rng.integers(size, size=shape, dtype=np.int32)
            return rng.normal(size=(*shape, size))

        tokens = self.inputs == "token"
        inputs = draw(tokens, self.tokens if tokens else 2)
        targets = draw(self.loss == "cross_entropy", self.outputs)
        if self.loss == "binary_cross_entropy":
            targets = np.asarray(targets > 0, np.float64)
        mask = rng.integers(2, size=shape) == 1 if self.masked else np.ones(shape, bool)
        mask[-1] = True
        return Batch(inputs, targets, mask, carry)


# T = 1, 7, 64, 100; batch 1 and 5; one and two layers; both encodings and all losses. The last two
# show an error that begins at 64 steps.
GRADIENT_CASES = (
    Case(1, batch=1, masked=False),
    Case(7, layers=2, inputs="real", loss="squared_error"),
    Case(64, inputs="token"),
    Case(100, batch=1, layers=2, inputs="real", loss="binary_cross_entropy"),
)
DEEP, LONG = GRADIENT_CASES[1], GRADIENT_CASES[2]
DROPPED = replace(DEEP, dropout=0.5)
SMALL = Case(7)
# Beside ``DEEP``, the shape at which a variant that compiles is compared if few are asked for: no
# multiple of a vector's width.
WIDE = Case(7, hidden=33)
FEW_SHAPES = "this variant compiles, so few shapes are compared; `--grid cover` compares all"
SGD = Optimizer("sgd", learning_rate=0.1)


@dataclass
class Bench:
    """One variant of one cell of a backend, and the float64 reference to compare it with.

    A variant that declares a deviation is compared with itself: its reference is its own float64
    (or the most exact dtype that it has).

    Attributes:
        wanted_cases: the cases at which gradients are compared.
        few: compare a variant that compiles at ``DEEP`` and ``WIDE`` alone, whose programs its
            checks share.
    """

    backend: Backend
    reference: Backend
    cell: Cell
    variant: str
    wanted_device: str | None = None
    dtypes: tuple[Dtype, ...] = ("float64", "float32")
    wanted_cases: tuple[Case, ...] = GRADIENT_CASES
    few: bool = False
    _gradients: dict[Case, tuple[Gradients, Gradients]] = field(default_factory=dict)
    _trainers: dict[tuple[Case, Optimizer, Dtype], Trainer] = field(default_factory=dict)

    @cached_property
    def deviation(self) -> str | None:
        """The declared deviation of this variant from the cell's equations, or None."""
        return query.deviation(self.backend, self.cell, self.variant)

    @cached_property
    def has_few_shapes(self) -> bool:
        """Whether few shapes are asked for, and the variant compiles.

        Raises:
            NotApplicable: the backend declares that it does not support this.
        """
        return self.few and self.trainer(DEEP).compilations() is not None

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases at which gradients are compared."""
        return (DEEP,) if self.has_few_shapes else self.wanted_cases

    @property
    def rounding_case(self) -> Case:
        """The case that shows in which dtype the variant computes."""
        return WIDE if self.has_few_shapes else LONG

    def needs_many_shapes(self) -> None:
        """Raise NotApplicable if few shapes are compared."""
        if self.has_few_shapes:
            raise NotApplicable(FEW_SHAPES)

    def why_unsupported(
        self, case: Case, dtype: Dtype, rule: Optimizer = SGD, checkpoint: Checkpoint = "off"
    ) -> str | None:
        """Return the backend's reason not to run this; None if it can."""
        if dtype not in self.offered_dtypes:
            return f"{self.backend.name} has no {dtype} on {self.device}"
        trial = Trial(
            backend=self.backend.name,
            variant=self.variant,
            task="conformance",
            cell=self.cell.name,
            length=case.time_steps,
            layers=case.layers,
            hidden=case.hidden,
            batch=case.batch,
            dropout=case.dropout,
            embedding=case.embedding,
            tied_readout=case.tied_readout,
            optimizer=rule.name,
            schedule=rule.schedule,
            schedule_steps=rule.schedule_steps,
            schedule_factor=rule.schedule_factor,
            momentum=rule.momentum,
            weight_decay=rule.weight_decay,
            clip_norm=rule.clip_norm,
            clip_value=rule.clip_value,
            dtype=dtype,
            device=self.device,
            checkpoint=checkpoint,
        )
        return query.why_unsupported(self.backend, case.model(self.cell), trial)

    @cached_property
    def device(self) -> str:
        """The device that everything runs on: the wanted device, or the backend's first."""
        return self.wanted_device or query.devices(self.backend)[0]

    @cached_property
    def offered_dtypes(self) -> tuple[Dtype, ...]:
        """The dtypes to check that the backend has on this device; checks use no others."""
        offered = query.dtypes(self.backend, self.device)
        return tuple(dtype for dtype in self.dtypes if dtype in offered)

    @cached_property
    def usable_dtypes(self) -> tuple[Dtype, ...]:
        """The dtypes that this variant runs in, at least one.

        Raises:
            NotApplicable: it runs in none of them.
        """
        usable = tuple(
            dtype for dtype in self.offered_dtypes if self.why_unsupported(SMALL, dtype) is None
        )
        if not usable:
            raise NotApplicable(str(self.why_unsupported(SMALL, self.dtypes[0])))
        return usable

    @property
    def dtype(self) -> Dtype:
        """The most exact dtype that this variant runs in."""
        return "float64" if "float64" in self.usable_dtypes else self.usable_dtypes[0]

    @property
    def tolerance(self) -> float:
        """The largest relative error allowed in ``dtype``."""
        return TOLERANCE[self.dtype]

    def trainer(
        self, case: Case, optimizer: Optimizer = SGD, dtype: Dtype | None = None
    ) -> Trainer:
        """Return the backend's trainer for ``case``, at its initial parameters and zero state.

        A trainer is built once and reloaded for each check, so that a backend compiles once.

        Raises:
            NotApplicable: the backend declares that it does not support this.
        """
        key = (case, optimizer, dtype or self.dtype)
        if key not in self._trainers:
            self._trainers[key] = self.new_trainer(case, optimizer, dtype)
        else:
            self._trainers[key].load(case.parameters(self.cell))
            self._trainers[key].load_state(None)
        return self._trainers[key]

    def new_trainer(
        self,
        case: Case,
        optimizer: Optimizer = SGD,
        dtype: Dtype | None = None,
        *,
        parameters: Parameters | None = None,
        dropout_seed: int = 0,
        checkpoint: Checkpoint = "off",
    ) -> Trainer:
        """Return a new trainer that starts from ``parameters``, or from those of the case.

        Raises:
            NotApplicable: the backend declares that it does not support this.
        """
        dtype = dtype or self.dtype
        if reason := self.why_unsupported(case, dtype, optimizer, checkpoint):
            raise NotApplicable(reason)
        execution = Execution(self.variant, self.device, dtype, dropout_seed, checkpoint=checkpoint)
        start = case.parameters(self.cell) if parameters is None else parameters
        return self.backend.trainer(case.model(self.cell), optimizer, start, execution)

    def reference_trainer(self, case: Case) -> Trainer:
        """Return the reference's trainer in float64 on the CPU, from the same parameters."""
        if self.deviation is not None:
            return self.new_trainer(case)
        return self.equations_trainer(case)

    def equations_trainer(self, case: Case) -> Trainer:
        """Return a trainer of the cell's equations, even if the variant declares a deviation."""
        execution = Execution(self.reference.reference_variant(self.cell), "cpu", "float64")
        return self.reference.trainer(
            case.model(self.cell), SGD, case.parameters(self.cell), execution
        )

    def gradients(self, case: Case) -> tuple[Gradients, Gradients]:
        """Return the backend's gradients and the reference's, computed once."""
        if case not in self._gradients:
            trainer = self.trainer(case)
            gradients = trainer.gradients(trainer.put(case.make_batch()))
            self._gradients[case] = (gradients, self.reference_gradients(case))
        return self._gradients[case]

    def reference_gradients(self, case: Case) -> Gradients:
        """Return the reference's gradients."""
        trainer = self.reference_trainer(case)
        return trainer.gradients(trainer.put(case.make_batch()))

"""A trial: one model x task x length x backend:variant x seed, frozen and hashable; its id is a hash of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.contract.dtypes import Dtype
from harness.contract.optimizer import Optimizer, OptimizerName, ScheduleName
from harness.contract.wording import NAME_PATTERN

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
_DECAY = 0.99
LEAST_BETWEEN_EVALUATIONS = 150  # steps; an evaluation costs about as much as thirty
OptionValue = str | int | float | bool | None


class Trial(BaseModel):
    """Everything that decides what one measurement computes; nothing is left to be resolved later.

    Raises:
        pydantic.ValidationError: a field is out of its range; all errors at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Name
    variant: Name
    task: Name
    task_options: dict[str, OptionValue] = Field(default_factory=dict)
    cell: Name
    length: int = Field(ge=1, le=1_000_000)
    layers: int = Field(default=1, ge=1, le=64)
    hidden: int = Field(default=128, ge=1, le=65_536)
    batch: int = Field(default=32, ge=1, le=65_536)
    steps: int = Field(default=1000, ge=1, le=100_000_000)

    optimizer: OptimizerName = "adam"
    learning_rate: Rate = 1e-3
    schedule: ScheduleName = "constant"
    schedule_steps: int = Field(default=1, ge=1)
    schedule_factor: float = Field(default=1.0, gt=0, le=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    decay: float = Field(default=_DECAY, ge=0, lt=1)
    clip_norm: Rate | None = None
    clip_value: Rate | None = None

    initialisation: Literal["torch", "glorot", "identity"] = "torch"
    forget_bias: float | None = Field(default=None, ge=-100, le=100, allow_inf_nan=False)
    chrono: int | None = Field(
        default=None, ge=2
    )  # chrono initialisation's longest dependency, T_max
    dropout: float = Field(default=0.0, ge=0, lt=1)

    seed: int = Field(default=0, ge=0, lt=2**63)
    data_seed: int | None = Field(default=None, ge=0, lt=2**63)  # None: ``seed``
    evaluation_seed: int | None = Field(default=None, ge=0, lt=2**63)
    dtype: Dtype = "float32"
    device: str = Field(default="cpu", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    threads: int = Field(default=1, ge=1, le=4096)
    checkpoint: Literal["off", "auto"] | Annotated[int, Field(ge=1, le=1_000_000)] = (
        "off"  # time steps per chunk
    )
    evaluate_every: int = Field(
        default=0, ge=0
    )  # steps between evaluations; 0: at the start and the end only
    devices: int = Field(default=1, ge=1, le=1024)  # over which each batch is split evenly
    python: Name | None = (
        None  # the interpreter it runs in, by its name in the plan; None: the harness's own
    )

    @field_validator("task_options")
    @classmethod
    def _named_options(cls, options: dict[str, OptionValue]) -> dict[str, OptionValue]:
        for name in options:
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"option name {name!r} is not allowed")
        return dict(sorted(options.items()))

    @model_validator(mode="after")
    def _one_kind_of_clipping(self) -> Trial:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError(
                "clip_norm and clip_value exclude each other: leave one of them out, or set it to none"
            )
        if self.forget_bias is not None and self.chrono is not None:
            raise ValueError(
                "forget_bias and chrono exclude each other: both set the memory gate's bias"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_silently_unused(self) -> Trial:
        unused = [
            ("momentum", self.momentum != 0, "optimizer sgd", self.optimizer == "sgd"),
            ("decay", self.decay != _DECAY, "optimizer rmsprop", self.optimizer == "rmsprop"),
            (
                "schedule_factor",
                self.schedule_factor != 1,
                "schedule exponential",
                self.schedule == "exponential",
            ),
            ("schedule_steps", self.schedule_steps != 1, "a schedule", self.schedule != "constant"),
        ]
        for name, given, needs, there in unused:
            if given and not there:
                raise ValueError(
                    f"{name} = {getattr(self, name)} would have no effect: it needs {needs}"
                )
        if self.schedule == "exponential" and self.schedule_factor == 1:
            raise ValueError(
                "schedule exponential would have no effect: it needs a schedule_factor below 1"
            )
        return self

    @model_validator(mode="after")
    def _the_batch_can_be_split(self) -> Trial:
        if self.devices > 1 and ":" in self.device:
            raise ValueError(
                f"device {self.device} is a single one, and devices = {self.devices} asks for several: "
                f"give device {self.device.partition(':')[0]}"
            )
        if self.batch % self.devices:
            raise ValueError(
                f"batch = {self.batch} cannot be split evenly over devices = {self.devices}: give a multiple of it"
            )
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, and so with another id."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("trial_id", None)
        return copy

    def content(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; younger fields only where they say something, so older ids stay."""
        usual = {"python": None, "checkpoint": "off", "devices": 1}
        content = self.model_dump(mode="json")
        return {
            name: value
            for name, value in content.items()
            if name not in usual or value != usual[name]
        }

    @cached_property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the content."""
        canonical = json.dumps(self.content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def processors(self) -> int:
        """How many processors it can keep busy: its threads on each of its devices."""
        return self.threads * self.devices

    @property
    def engine(self) -> str:
        """``backend:variant``."""
        return f"{self.backend}:{self.variant}"

    def update_rule(self) -> Optimizer:
        """Return the optimizer that this trial names."""
        return Optimizer(
            name=self.optimizer,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            schedule_steps=self.schedule_steps,
            schedule_factor=self.schedule_factor,
            momentum=self.momentum,
            decay=self.decay,
            epsilon=1e-10 if self.optimizer == "adagrad" else 1e-8,
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
        )

    def __hash__(self) -> int:
        return hash(self.trial_id)


def steps_between_evaluations(steps: int) -> int:
    """Return the training steps between two evaluations if none are asked for."""
    return max(LEAST_BETWEEN_EVALUATIONS, steps // 10)

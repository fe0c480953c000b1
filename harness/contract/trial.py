"""A trial: one model, task, length, engine and seed. Its id is a hash of its content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from harness.contract.dtypes import Dtype
from harness.contract.model import tied_problem
from harness.contract.optimizer import Optimizer, OptimizerName, ScheduleName
from harness.contract.weights.initialisation import SCHEMA, normal_form
from harness.contract.wording import NAME_PATTERN

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
Rate = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
_DECAY, _BETA1, _BETA2 = 0.99, 0.9, 0.999
LEAST_BETWEEN_EVALUATIONS = 150  # steps
OptionValue = str | int | float | bool | None
GATE_OPTIONS = ("forget_bias", "chrono")  # None for cells without a memory gate
OMITTED_AT_DEFAULT = "omitted from the content at its default"  # marks a field
_OTHER_LENGTH = re.compile(r"(?P<number>[1-9]\d*)?(?P<multiple>T)?")
_OTHER_LENGTHS = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^([1-9]\d*T?|T)(,([1-9]\d*T?|T))*$"},
    ]
}
OtherLengths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...],
    Field(max_length=64),
    WithJsonSchema(_OTHER_LENGTHS),
]
Initialisation = Annotated[str, AfterValidator(normal_form), WithJsonSchema(dict(SCHEMA))]


class Trial(BaseModel):
    """Everything that decides what one measurement computes. It is frozen and hashable.

    Mark a new field with ``OMITTED_AT_DEFAULT``: the ids of stored trials then stay.

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
    beta1: Annotated[float, OMITTED_AT_DEFAULT] = Field(default=_BETA1, ge=0, lt=1)
    beta2: Annotated[float, OMITTED_AT_DEFAULT] = Field(default=_BETA2, ge=0, lt=1)
    # None: 1e-10 for adagrad, else 1e-8.
    epsilon: Annotated[float | None, OMITTED_AT_DEFAULT] = Field(default=None, gt=0, le=1)
    epsilon_in_root: Annotated[bool, OMITTED_AT_DEFAULT] = False
    initial_square: Annotated[float, OMITTED_AT_DEFAULT] = Field(default=0.0, ge=0, le=1e6)
    weight_decay: Annotated[float, OMITTED_AT_DEFAULT] = Field(default=0.0, ge=0, lt=1)
    warmup_steps: Annotated[int, OMITTED_AT_DEFAULT] = Field(default=0, ge=0)
    schedule_start: Annotated[int, OMITTED_AT_DEFAULT] = Field(default=0, ge=0)
    clip_norm: Rate | None = None
    clip_value: Rate | None = None

    # A scheme, or draws by kind of tensor: recurrent=identity,input=glorot.
    initialisation: Initialisation = "torch"
    forget_bias: float | None = Field(default=None, ge=-100, le=100, allow_inf_nan=False)
    # The longest dependency of chrono initialisation, T_max.
    chrono: int | None = Field(default=None, ge=2)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    # The width E of the table of tokens; None: tokens are one-hot.
    embedding: Annotated[int | None, OMITTED_AT_DEFAULT] = Field(default=None, ge=1, le=65_536)
    # The readout's weight is the embedding.
    tied_readout: Annotated[bool, OMITTED_AT_DEFAULT] = False

    seed: int = Field(default=0, ge=0, lt=2**63)
    data_seed: int | None = Field(default=None, ge=0, lt=2**63)  # None: ``seed``
    evaluation_seed: int | None = Field(default=None, ge=0, lt=2**63)
    dtype: Dtype = "float32"
    device: str = Field(default="cpu", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    threads: int = Field(default=1, ge=1, le=4096)
    # Time steps per chunk.
    checkpoint: Annotated[
        Literal["off", "auto"] | Annotated[int, Field(ge=1, le=1_000_000)], OMITTED_AT_DEFAULT
    ] = "off"
    # Steps between evaluations; 0: only at the start and the end.
    evaluate_every: int = Field(default=0, ge=0)
    # Training ends when this many evaluations have not improved; None: after the last step.
    patience: Annotated[int | None, OMITTED_AT_DEFAULT] = Field(default=None, ge=1)
    # Further lengths at which the trained network is judged.
    evaluate_at: Annotated[OtherLengths, OMITTED_AT_DEFAULT] = ()
    # Each batch is split evenly over them.
    devices: Annotated[int, OMITTED_AT_DEFAULT] = Field(default=1, ge=1, le=1024)
    # The name of the interpreter in the plan; None: the harness's own.
    python: Annotated[Name | None, OMITTED_AT_DEFAULT] = None

    @field_validator("task_options")
    @classmethod
    def _named_options(cls, options: dict[str, OptionValue]) -> dict[str, OptionValue]:
        for name in options:
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"option name {name!r} is not allowed")
        return dict(sorted(options.items()))

    @field_validator("evaluate_at", mode="before")
    @classmethod
    def _in_time_steps(cls, value: Any, info: ValidationInfo) -> tuple[int, ...]:
        """Return the lengths of ``2T,4T``, ``40,80`` or a list of such, ascending."""
        if value is None or value == "none":
            return ()
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        length = info.data.get("length", 1)
        return tuple(sorted({_time_steps(str(part).strip(), length) for part in parts}))

    @model_validator(mode="after")
    def _one_kind_of_clipping(self) -> Trial:
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError(
                "clip_norm and clip_value exclude each other: leave one of them out, "
                "or set it to none"
            )
        if self.forget_bias is not None and self.chrono is not None:
            problem = "forget_bias and chrono exclude each other"
            raise ValueError(f"{problem}: both set the memory gate's bias")
        return self

    @model_validator(mode="after")
    def _a_tied_readout_fits(self) -> Trial:
        if self.tied_readout and self.embedding != self.hidden:
            raise ValueError(tied_problem(self.embedding, self.hidden))
        return self

    @model_validator(mode="after")
    def _nothing_is_silently_unused(self) -> Trial:
        sgd, rmsprop, adam = (self.optimizer == name for name in ("sgd", "rmsprop", "adam"))
        exponential, scheduled = self.schedule == "exponential", self.schedule != "constant"
        needs = (
            ("momentum", self.momentum != 0, "optimizer sgd", sgd),
            ("decay", self.decay != _DECAY, "optimizer rmsprop", rmsprop),
            ("initial_square", self.initial_square != 0, "optimizer rmsprop", rmsprop),
            ("beta1", self.beta1 != _BETA1, "optimizer adam", adam),
            ("beta2", self.beta2 != _BETA2, "optimizer adam", adam),
            ("epsilon", self.epsilon is not None, "another optimizer than sgd", not sgd),
            ("epsilon_in_root", self.epsilon_in_root, "another optimizer than sgd", not sgd),
            ("weight_decay", self.weight_decay != 0, "optimizer adam", adam),
            ("schedule_factor", self.schedule_factor != 1, "schedule exponential", exponential),
            ("schedule_steps", self.schedule_steps != 1, "a schedule", scheduled),
            ("schedule_start", self.schedule_start != 0, "a schedule", scheduled),
            ("schedule_start", self.schedule_start >= self.steps, "more steps", False),
            ("patience", self.patience is not None, "evaluate_every", self.evaluate_every > 0),
        )
        for name, is_set, need, is_met in needs:
            if is_set and not is_met:
                problem = f"{name} = {getattr(self, name)} would have no effect"
                raise ValueError(f"{problem}: it needs {need}")
        if exponential and self.schedule_factor == 1:
            need = "a schedule_factor below 1"
            raise ValueError(f"schedule exponential would have no effect: it needs {need}")
        return self

    @model_validator(mode="after")
    def _the_batch_can_be_split(self) -> Trial:
        if self.devices > 1 and ":" in self.device:
            raise ValueError(
                f"device {self.device} is a single one, and devices = {self.devices} asks for "
                f"several: give device {self.device.partition(':')[0]}"
            )
        if self.batch % self.devices:
            raise ValueError(
                f"batch = {self.batch} cannot be split evenly over devices = {self.devices}: "
                "give a multiple of it"
            )
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values and its own id."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("trial_id", None)
        return copy

    def content(self) -> dict[str, Any]:
        """Return the fields as JSON-able values, less the marked ones that are at their default."""
        content = self.model_dump(mode="json")
        for name, default in _OMITTED.items():
            if content[name] == default:
                del content[name]
        return content

    @cached_property
    def trial_id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the content."""
        canonical = json.dumps(self.content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def processors(self) -> int:
        """How many processors it keeps busy: threads times devices."""
        return self.threads * self.devices

    @property
    def engine(self) -> str:
        """``backend:variant``."""
        return f"{self.backend}:{self.variant}"

    def update_rule(self) -> Optimizer:
        """Return the trial's optimizer with its settings."""
        return Optimizer(
            name=self.optimizer,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            schedule_steps=self.schedule_steps,
            schedule_factor=self.schedule_factor,
            momentum=self.momentum,
            decay=self.decay,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon or (1e-10 if self.optimizer == "adagrad" else 1e-8),
            epsilon_in_root=self.epsilon_in_root,
            initial_square=self.initial_square,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            schedule_start=self.schedule_start,
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
        )

    def __hash__(self) -> int:
        return hash(self.trial_id)


def _time_steps(text: str, length: int) -> int:
    match = _OTHER_LENGTH.fullmatch(text)
    if not text or not match:
        raise ValueError(f"{text!r} is not a length: write lengths or multiples of T, as in 40,4T")
    return int(match["number"] or 1) * (length if match["multiple"] else 1)


_OMITTED = {
    name: list(field.default) if isinstance(field.default, tuple) else field.default
    for name, field in Trial.model_fields.items()
    if OMITTED_AT_DEFAULT in field.metadata
}


def steps_between_evaluations(steps: int) -> int:
    """Return the training steps between two evaluations if none are asked for."""
    return max(LEAST_BETWEEN_EVALUATIONS, steps // 10)


def are_evaluated_as_usual(trials: Iterable[Trial]) -> bool:
    """Return whether no trial has steps between evaluations of its own choice."""
    return all(
        trial.evaluate_every in (0, steps_between_evaluations(trial.steps)) for trial in trials
    )

"""The interface between the core and every plugin. No framework is imported here."""

from harness.contract.accelerators import may_have_accelerator
from harness.contract.backend import (
    Available,
    Backend,
    Checkpoint,
    Execution,
    Gradients,
    Missing,
    Placement,
    Rank,
    Snapshot,
    StepResult,
    Trainer,
)
from harness.contract.batch import Batch
from harness.contract.cell import Cell, CellState, Ops, Product, Tensor, uses_old_step
from harness.contract.checks import check_dtype, check_state, check_variant, named_state, state_of
from harness.contract.dtypes import ArrayDtype, Dtype, array_dtype, epsilon, rounded
from harness.contract.errors import (
    BrokenAnswerError,
    CorpusError,
    DeviceMemoryError,
    DivergedError,
    HarnessError,
    PluginError,
    StoreError,
    UnavailableError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from harness.contract.hooks import Published, Suite, hookimpl
from harness.contract.matrix import Matrix
from harness.contract.model import Array, Inputs, Loss, Model, Parameters, State
from harness.contract.optimizer import RULE_OPTIONS, Optimizer
from harness.contract.records.columns import COLUMNS
from harness.contract.records.exporter import Exporter
from harness.contract.records.record import Record
from harness.contract.task import Evaluation, Score, Task, TaskDefaults, TaskOptions, expanded_path
from harness.contract.trial import Trial
from harness.contract.vocabulary import Vocabulary

__all__ = [
    "COLUMNS",
    "RULE_OPTIONS",
    "Array",
    "ArrayDtype",
    "Available",
    "Backend",
    "Batch",
    "BrokenAnswerError",
    "Cell",
    "CellState",
    "Checkpoint",
    "CorpusError",
    "DeviceMemoryError",
    "DivergedError",
    "Dtype",
    "Evaluation",
    "Execution",
    "Exporter",
    "Gradients",
    "HarnessError",
    "Inputs",
    "Loss",
    "Matrix",
    "Missing",
    "Model",
    "Ops",
    "Optimizer",
    "Parameters",
    "Placement",
    "PluginError",
    "Product",
    "Published",
    "Rank",
    "Record",
    "Score",
    "Snapshot",
    "State",
    "StepResult",
    "StoreError",
    "Suite",
    "Task",
    "TaskDefaults",
    "TaskOptions",
    "Tensor",
    "Trainer",
    "Trial",
    "UnavailableError",
    "UnknownNameError",
    "UnsupportedError",
    "UsageError",
    "Vocabulary",
    "array_dtype",
    "check_dtype",
    "check_state",
    "check_variant",
    "epsilon",
    "expanded_path",
    "hookimpl",
    "may_have_accelerator",
    "named_state",
    "rounded",
    "state_of",
    "uses_old_step",
]


def __getattr__(name: str) -> object:
    if name == "LinearCell":
        raise ImportError(
            "LinearCell is gone: derive from Cell, set products = (), and write step as "
            "h' = a * h + b; the scan over time is found from it"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

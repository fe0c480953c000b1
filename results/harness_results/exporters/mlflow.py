"""MLflow: one SQLite file, an experiment per task and a run per trial. Nothing is sent anywhere.

``mlflow`` is loaded here only, after it was told to keep its telemetry to itself.
"""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from harness.contract.errors import UnavailableError, UsageError
from harness_results.exporters.contract import FIX, SharedTrial, TrialExporter
from harness_results.text.format import one_line

FILE = "mlflow.db"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
AT_ONCE = 1000  # metrics, at most
RUN_STATUS = {"ok": "FINISHED", "interrupted": "KILLED"}  # all others: FAILED
TROUBLE = frozenset("?#%")  # in a path, which MLflow takes as a URL


class Exporter(TrialExporter):
    """Writes a SQLite file of MLflow."""

    def __init__(self) -> None:
        os.environ.update(QUIET)
        try:
            import alembic  # noqa: F401
            import mlflow  # noqa: F401
        except ImportError as error:
            raise UnavailableError(
                f"MLflow's files need mlflow-skinny and alembic. Install them: {FIX}"
            ) from error

    def write(self, trials: Iterable[SharedTrial], folder: Path, home: Path) -> None:
        """Write the file.

        Raises:
            UsageError: MLflow cannot open such a path, or write there.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if TROUBLE & set(str(folder.absolute())):
            raise UsageError(f"MLflow cannot open {home}: choose an --output without any of ? # %")
        part = (
            folder / f"{uuid.uuid4().hex}.db"
        )  # MLflow keeps what it opened, by name, until the process ends
        place = _uri(part)
        try:
            _write_all(MlflowClient(tracking_uri=place, registry_uri=place), trials, home)
        except (MlflowException, SQLAlchemyError) as error:
            raise UsageError(
                f"MLflow cannot write {home} ({_first_line(error)}); choose another --output"
            ) from error
        part.replace(folder / FILE)

    def how_to_look(self, home: Path) -> str:
        """Return the command that shows what was written."""
        return f"mlflow ui --backend-store-uri {shlex.quote(_uri(home / FILE))}"


def _uri(file: Path) -> str:
    return f"sqlite:///{file.absolute().as_posix()}"


def _first_line(error: Exception) -> str:
    return one_line(str(error).strip().partition("\n")[0])


def _write_all(client: Any, trials: Iterable[SharedTrial], home: Path) -> None:
    experiments: dict[str, str] = {}
    for trial in trials:
        if trial.task not in experiments:
            experiments[trial.task] = _experiment(client, trial.task, home)
        _write_run(client, experiments[trial.task], trial)


def _experiment(client: Any, task: str, home: Path) -> str:
    known = client.get_experiment_by_name(task)
    if known is not None:
        return str(known.experiment_id)
    return str(
        client.create_experiment(task, artifact_location=(home.absolute() / "artifacts").as_uri())
    )


def _write_run(client: Any, experiment_id: str, trial: SharedTrial) -> None:
    from mlflow.entities import Param

    run = client.create_run(
        experiment_id, _milliseconds(trial.started), tags=dict(trial.tags), run_name=trial.name
    )
    run_id = run.info.run_id
    client.log_batch(
        run_id, params=[Param(name, str(value)) for name, value in trial.settings.items()]
    )
    metrics = _metrics(trial)
    while some := list(islice(metrics, AT_ONCE)):
        client.log_batch(run_id, metrics=some)
    ended = trial.started if trial.ended is None else trial.ended
    client.set_terminated(run_id, RUN_STATUS.get(trial.status, "FAILED"), _milliseconds(ended))


def _metrics(trial: SharedTrial) -> Iterator[Any]:
    from mlflow.entities import Metric

    for name, value in trial.figures.items():
        yield Metric(name, value, _milliseconds(trial.started), 0)
    for one in trial.series:
        for step, value, seconds in zip(one.steps, one.values, one.seconds, strict=True):
            yield Metric(one.name, value, _milliseconds(seconds), step)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds) or 1  # MLflow takes 0 for now

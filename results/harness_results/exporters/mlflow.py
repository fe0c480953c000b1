"""MLflow: one SQLite file, an experiment per task and a run per trial. Nothing is sent anywhere.

``mlflow`` is imported here only, after its telemetry was turned off.
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
AT_ONCE = 1000  # metrics in one call, MLflow's limit
RUN_STATUS = {"ok": "FINISHED", "interrupted": "KILLED"}  # any other: FAILED
REFUSED = frozenset("?#%")  # characters of a path, because MLflow reads it as a URL


class Exporter(TrialExporter):
    """Writes MLflow's SQLite file."""

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

        if REFUSED & set(str(folder.absolute())):
            raise UsageError(f"MLflow cannot open {home}: choose an --output without any of ? # %")
        # A new name, because MLflow keeps every file that it opened until the process ends.
        part = folder / f"{uuid.uuid4().hex}.db"
        uri = _uri(part)
        try:
            _write_all(MlflowClient(tracking_uri=uri, registry_uri=uri), trials, home)
        except (MlflowException, SQLAlchemyError) as error:
            raise UsageError(
                f"MLflow cannot write {home} ({_first_line(error)}); choose another --output"
            ) from error
        part.replace(folder / FILE)

    def how_to_look(self, home: Path) -> str:
        """Return the command that shows the exported trials."""
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
    experiment = client.get_experiment_by_name(task)
    if experiment is not None:
        return str(experiment.experiment_id)
    artifacts = (home.absolute() / "artifacts").as_uri()
    return str(client.create_experiment(task, artifact_location=artifacts))


def _write_run(client: Any, experiment_id: str, trial: SharedTrial) -> None:
    from mlflow.entities import Param

    run = client.create_run(
        experiment_id, _milliseconds(trial.started), tags=dict(trial.tags), run_name=trial.name
    )
    run_id = run.info.run_id
    params = [Param(name, str(value)) for name, value in trial.settings.items()]
    client.log_batch(run_id, params=params)
    metrics = _metrics(trial)
    while batch := list(islice(metrics, AT_ONCE)):
        client.log_batch(run_id, metrics=batch)
    ended = trial.started if trial.ended is None else trial.ended
    client.set_terminated(run_id, RUN_STATUS.get(trial.status, "FAILED"), _milliseconds(ended))


def _metrics(trial: SharedTrial) -> Iterator[Any]:
    from mlflow.entities import Metric

    for name, value in trial.figures.items():
        yield Metric(name, value, _milliseconds(trial.started), 0)
    for series in trial.series:
        for step, value, seconds in zip(series.steps, series.values, series.seconds, strict=True):
            yield Metric(series.name, value, _milliseconds(seconds), step)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds) or 1  # for MLflow 0 is the present

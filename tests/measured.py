"""The committed records of ``results/measured``."""

import json

import paths
from harness.contract import Record, Trial
from harness.contract.records.columns import FIGURE_NAMES, names_of
from harness.measure.setup import default_options
from harness.plugins import load_plugins

MEASURED = paths.ROOT / "results" / "measured"
PLUGINS = load_plugins()


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (MEASURED / name).read_text(encoding="utf-8").splitlines()]


def record(row: dict) -> Record:
    """Return the record of a row; curves, samples and flags are not in it."""
    asked = {name: row[name] for name in names_of("trial")[1:]} | json.loads(row["settings"])
    told = {
        name: row[name]
        for name in ("launches", "interval", "gradient_horizon_censored", "deviation")
    }
    origin = {name: row[name] for name in ("environment_id", "started_at", "harness_version")}
    figures = {name: row.get(name) for name in FIGURE_NAMES}
    details = {name: value for name, value in told.items() if value is not None}
    if row.get("evaluation_sets"):
        details["evaluation_sets"] = json.loads(row["evaluation_sets"])
    details["task_defaults"] = default_options(PLUGINS.task(row["task"]))
    return Record(Trial(**asked), row["status"], row["reason"], figures, {}, details, **origin)


def records(name: str) -> list[Record]:
    return [record(row) for row in rows(name)]

"""TensorBoard: one folder with one event file per trial, written with tensorboardX.

The same trials give the same bytes. Numbers are single precision, except settings. Texts are code
blocks, because TensorBoard would read them as Markdown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.contract.errors import UnavailableError
from harness_results.exporters.contract import FIX, Setting, SharedTrial, TrialExporter

FILE = "events.out.tfevents.0.harness"
EXACT = 2**53  # a setting is double precision: a larger whole number (a seed) is written as text
PLUGIN = "hparams"
MOST_CHOICES = 20  # values of a setting that are offered as a choice


class Exporter(TrialExporter):
    """Writes event files."""

    def __init__(self) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise UnavailableError(
                f"TensorBoard's files need tensorboardX. Install it: {FIX}"
            ) from error

    def write(self, trials: Iterable[SharedTrial], folder: Path, home: Path) -> None:
        """Write a folder per trial, and at the top the settings and figures of all trials."""
        choices: dict[str, set[Setting]] = {}
        figures: dict[str, None] = {}
        for trial in trials:
            settings = _settings(trial)
            for name, value in settings.items():
                choices.setdefault(name, set()).add(value)
            figures |= dict.fromkeys(trial.figures)
            with _events(folder / trial.name) as write:
                for event in _trial_events(trial, settings):
                    write(event)
        with _events(folder) as write:
            write(_hparams_event("experiment", 0.0, experiment=_experiment(choices, figures)))

    def how_to_look(self, home: Path) -> str:
        """Return the command that shows the exported trials."""
        return f"tensorboard --logdir {shlex.quote(str(home))}"


@contextmanager
def _events(folder: Path) -> Iterator[Any]:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    writer = RecordWriter(str(folder.absolute() / FILE))

    def write(event: Any) -> None:
        writer.write(event.SerializeToString())

    try:
        write(Event(wall_time=0.0, file_version="brain.Event:2"))
        yield write
    finally:
        writer.close()


def _trial_events(trial: SharedTrial, settings: Mapping[str, Setting]) -> Iterator[Any]:
    start, end = _session(trial, settings)
    yield _hparams_event("session_start_info", trial.started, session_start_info=start)
    for name, text in trial.tags.items():
        yield _text_event(name, text, trial.started)
    for name, value in trial.figures.items():
        yield _scalar_event(f"figures/{name}", 0, value, trial.started)
    for series in trial.series:
        for step, value, seconds in zip(series.steps, series.values, series.seconds, strict=True):
            yield _scalar_event(series.name, step, value, seconds)
    yield _hparams_event("session_end_info", trial.started, session_end_info=end)


def _scalar_event(name: str, step: int, value: float, seconds: float) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
    return Event(wall_time=seconds, step=step, summary=summary)


def _text_event(name: str, text: str, seconds: float) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import text as text_summary

    code = "\n".join(f"    {line}" for line in text.split("\n"))
    return Event(wall_time=seconds, summary=text_summary(f"tags/{name}", code))


def _hparams_event(name: str, seconds: float, **content: Any) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    plugin = SummaryMetadata.PluginData(
        plugin_name=PLUGIN, content=HParamsPluginData(**content).SerializeToString()
    )
    value = Summary.Value(tag=f"_{PLUGIN}_/{name}", metadata=SummaryMetadata(plugin_data=plugin))
    return Event(wall_time=seconds, summary=Summary(value=[value]))


def _settings(trial: SharedTrial) -> dict[str, Setting]:
    """Return the trial's settings, and the tags by which a user may choose trials."""
    chosen = {name: trial.tags[name] for name in ("status", "environment_id") if name in trial.tags}
    return {name: _exact(value) for name, value in (dict(trial.settings) | chosen).items()}


def _exact(value: Setting) -> Setting:
    return str(value) if isinstance(value, int) and abs(value) > EXACT else value


def _session(trial: SharedTrial, settings: Mapping[str, Setting]) -> tuple[Any, Any]:
    from tensorboardX.proto import api_pb2
    from tensorboardX.proto.plugin_hparams_pb2 import SessionEndInfo, SessionStartInfo

    start = SessionStartInfo(start_time_secs=trial.started)
    for name, value in settings.items():
        setattr(start.hparams[name], f"{_kind(value)}_value", value)
    status = api_pb2.STATUS_SUCCESS if trial.status == "ok" else api_pb2.STATUS_FAILURE
    return start, SessionEndInfo(status=status, end_time_secs=trial.ended or trial.started)


def _experiment(choices: Mapping[str, set[Setting]], figures: Iterable[str]) -> Any:
    from tensorboardX.proto.api_pb2 import Experiment, MetricInfo, MetricName

    metrics = [
        MetricInfo(name=MetricName(tag=f"figures/{name}"), display_name=name) for name in figures
    ]
    return Experiment(
        hparam_infos=[_info(name, values) for name, values in choices.items()], metric_infos=metrics
    )


def _info(name: str, values: set[Setting]) -> Any:
    from tensorboardX.proto import api_pb2

    kinds = {_kind(value) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else "string"
    types = {
        "string": api_pb2.DATA_TYPE_STRING,
        "number": api_pb2.DATA_TYPE_FLOAT64,
        "bool": api_pb2.DATA_TYPE_BOOL,
    }
    info = api_pb2.HParamInfo(name=name, type=types[kind])
    if len(values) <= MOST_CHOICES:
        choices = set(map(str, values)) if kind == "string" else values
        info.domain_discrete.extend(sorted(choices))
    return info


def _kind(value: Setting) -> str:
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"

"""How the time of a training step grows with the sequence: a fit per network and engine."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.contract.records.record import Record
from harness_results.study.break_even import BreakEven, break_even
from harness_results.study.verdicts.fit import Estimate, line

Key = tuple[str, str | None]  # of a network

FEWEST_LENGTHS = 3
COSTLESS = (  # settings that do not change the time of a step, so they may vary with the length
    "chrono", "steps", "evaluate_every", "seed", "data_seed", "evaluation_seed", "learning_rate",
    "schedule_steps", "schedule_factor", "forget_bias", "evaluate_at",
)  # fmt: skip


@dataclass(frozen=True)
class Scaling:
    """One network on one engine over its lengths.

    Attributes:
        records: one per length, the shortest first.
        time_steps: t, the time steps that the network runs at each length (``copy``: T + 2K).
        step_overhead_seconds: a of ``seconds per step = a + b t``: the cost that does not depend on
            the length.
        time_step_seconds: b: the cost of each time step of the whole batch.
        exponent: slope of log seconds over log t.
        memory_bytes_per_time_step: slope of the peak memory; None if it is unknown.
        memory_exponent: slope of log peak memory over log t: 1 if all states are kept, less with
            checkpointed BPTT.
        memory_bytes: length -> peak, for the lengths at which it is known.
        compile_seconds: at the shortest and at the longest length; None if the engine does not
            compile.
        break_even: at the shortest and at the longest length; empty if the engine does not compile
            or has no rival.
    """

    records: tuple[Record, ...]
    time_steps: tuple[int, ...]
    step_overhead_seconds: Estimate
    time_step_seconds: Estimate
    exponent: Estimate
    memory_bytes_per_time_step: Estimate | None
    memory_exponent: Estimate | None
    memory_bytes: Mapping[int, float]
    compile_seconds: tuple[float | None, ...]
    break_even: tuple[BreakEven, ...]


def scaling(records: Iterable[Record]) -> list[Scaling]:
    """Return the scaling of each network and engine with three lengths or more."""
    timed = [record for record in records if record.status == "ok" and time_steps(record)]
    free = _following_length(timed)
    networks: dict[Key, dict[str, list[Record]]] = {}
    for record in timed:
        engines = networks.setdefault(_network(record, free), {})
        engines.setdefault(record.trial.engine, []).append(record)
    return [
        _scaling(sorted(members, key=lambda record: record.trial.length), engines)
        for engines in networks.values()
        for members in engines.values()
        if len(set(map(time_steps, members))) >= FEWEST_LENGTHS
    ]


def time_steps(record: Record) -> int | None:
    """Return the time steps that the network runs; None if they are unknown.

    A record counts its tokens per step. For an older record they are estimated as
    ``tokens_per_second * step_seconds_median`` of each launch. Both are medians over blocks, so the
    estimate is good only if the blocks of a launch are alike.
    """
    products = []
    for launch in record.details.get("launch_figures") or [record.figures]:
        rate, seconds = launch.get("tokens_per_second"), launch.get("step_seconds_median")
        if isinstance(rate, int | float) and isinstance(seconds, int | float) and seconds > 0:
            products.append(float(rate) * float(seconds))
    products = list(filter(math.isfinite, products))
    if not products:
        return None
    counted = record.details.get("tokens_per_step")
    tokens = counted if isinstance(counted, int | float) else median(products)
    return round(tokens / record.trial.batch) or None


def _scaling(records: Sequence[Record], engines: dict[str, list[Record]]) -> Scaling:
    """Return the scaling of one engine; ``engines``: all records of the same network, by engine."""
    steps = [time_steps(record) or 0 for record in records]
    seconds = [float(record.figures["step_seconds_median"] or 0.0) for record in records]
    overhead, slope = line(steps, seconds, [1 / value for value in seconds])
    ends = (records[0], records[-1])
    peaks: dict[int, float] = {}  # by length
    memory: dict[int, float] = {}  # by time steps
    for t, record in zip(steps, records, strict=True):
        peak = record.figures.get("peak_memory_bytes")
        if peak is not None:
            peaks[record.trial.length] = memory[t] = float(peak)
    if len(memory) < FEWEST_LENGTHS:
        memory = {}
    bytes_ = list(memory.values())
    return Scaling(
        records=tuple(records),
        time_steps=tuple(steps),
        step_overhead_seconds=overhead,
        time_step_seconds=slope,
        exponent=_exponent(steps, seconds),
        memory_bytes_per_time_step=line(list(memory), bytes_)[1] if memory else None,
        memory_exponent=_exponent(list(memory), bytes_) if memory and all(bytes_) else None,
        memory_bytes=peaks,
        compile_seconds=tuple(end.figures.get("compile_seconds") for end in ends),
        break_even=tuple(event for end in ends if (event := _overtakes(end, engines)) is not None),
    )


def _exponent(steps: Sequence[int], values: Sequence[float]) -> Estimate:
    return line([math.log(t) for t in steps], [math.log(value) for value in values])[1]


def _overtakes(record: Record, engines: dict[str, list[Record]]) -> BreakEven | None:
    if record.figures.get("compile_seconds") is None:
        return None
    rivals = itertools.chain.from_iterable(
        members for engine, members in engines.items() if engine != record.trial.engine
    )
    return break_even(record, [r for r in rivals if r.trial.length == record.trial.length])


def _network(record: Record, free: set[str]) -> Key:
    """Return the environment and all settings except engine, length and those in ``free``."""
    content = record.trial.model_dump(mode="json", exclude={"backend", "variant", "length", *free})
    return json.dumps(content, sort_keys=True), record.environment_id


def _following_length(records: Sequence[Record]) -> set[str]:
    """Return the settings without cost that have one value at each length of a task."""
    values: dict[tuple[str, str, int], set[object]] = {}
    for trial in (record.trial for record in records):
        for name in COSTLESS:
            values.setdefault((name, trial.task, trial.length), set()).add(getattr(trial, name))
    return set(COSTLESS) - {name for (name, _, _), settings in values.items() if len(settings) > 1}

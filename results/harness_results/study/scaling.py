"""How the time of a training step grows with the sequence: a fit per network and engine."""

from __future__ import annotations

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
COSTLESS = (  # settings that change no step's time, and so may follow the length
    "chrono", "steps", "evaluate_every", "seed", "data_seed", "evaluation_seed", "learning_rate",
    "schedule_steps", "schedule_factor", "forget_bias",
)  # fmt: skip


@dataclass(frozen=True)
class Scaling:
    """One network on one engine over its lengths.

    Attributes:
        records: those it is made of, by length.
        time_steps: those that the network really runs at each length (``copy``: T + 2K).
        step_overhead_seconds: a of ``seconds per step = a + b t``: what a step costs whatever its
            length.
        time_step_seconds: b: what each time step of the whole batch adds.
        exponent: slope of log seconds over log t.
        memory_bytes_per_time_step: slope of the peak memory; None where it is not known.
        memory_exponent: slope of log peak memory over log t: 1 where all states are kept, less with
            checkpointed BPTT.
        memory_bytes: the peak by length, where it is known.
        compile_seconds: at the shortest and at the longest length; None where the engine does not
            compile.
        break_even: at the shortest and at the longest length; empty where the engine does not
            compile or is alone.
    """

    records: tuple[Record, ...]
    time_steps: tuple[int, ...]
    step_overhead_seconds: Estimate
    time_step_seconds: Estimate
    exponent: Estimate
    memory_bytes_per_time_step: Estimate | None
    memory_exponent: Estimate | None
    memory_bytes: Mapping[int, float]
    compile_seconds: tuple[float | None, float | None]
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
    """Return the time steps that the network really runs; None if they are unknown.

    The record counts its tokens per step. One that is older has ``tokens_per_second *
    step_seconds_median`` of each launch, a product of two medians: near the count where the blocks
    of a launch are alike, and no more than that.
    """
    launches = record.details.get("launch_figures") or [record.figures]
    products = [
        _product(launch.get("tokens_per_second"), launch.get("step_seconds_median"))
        for launch in launches
    ]
    products_known = [product for product in products if product is not None]
    if not products_known:
        return None
    counted = record.details.get("tokens_per_step")
    tokens = counted if isinstance(counted, int | float) else median(products_known)
    return round(tokens / record.trial.batch) or None


def _scaling(records: Sequence[Record], engines: dict[str, list[Record]]) -> Scaling:
    """Return the scaling of one engine; ``engines``: the records of the same network."""
    steps = [time_steps(record) or 0 for record in records]
    seconds = [float(record.figures["step_seconds_median"] or 0.0) for record in records]
    overhead, slope = line(steps, seconds, [1 / value for value in seconds])
    ends = (records[0], records[-1])
    peaks = {record.trial.length: peak for record in records if (peak := _peak(record)) is not None}
    peaks_by_steps = [
        (t, peak)
        for t, record in zip(steps, records, strict=True)
        if (peak := _peak(record)) is not None
    ]
    memory = dict(peaks_by_steps) if len(dict(peaks_by_steps)) >= FEWEST_LENGTHS else {}
    return Scaling(
        records=tuple(records),
        time_steps=tuple(steps),
        step_overhead_seconds=overhead,
        time_step_seconds=slope,
        exponent=_exponent(steps, seconds),
        memory_bytes_per_time_step=line(list(memory), list(memory.values()))[1] if memory else None,
        memory_exponent=_exponent(list(memory), list(memory.values()))
        if all(memory.values()) and memory
        else None,
        memory_bytes=peaks,
        compile_seconds=(
            ends[0].figures.get("compile_seconds"),
            ends[1].figures.get("compile_seconds"),
        ),
        break_even=tuple(event for end in ends if (event := _overtakes(end, engines)) is not None),
    )


def _peak(record: Record) -> float | None:
    peak = record.figures.get("peak_memory_bytes")
    return None if peak is None else float(peak)


def _exponent(steps: Sequence[int], values: Sequence[float]) -> Estimate:
    return line([math.log(t) for t in steps], [math.log(value) for value in values])[1]


def _overtakes(record: Record, engines: dict[str, list[Record]]) -> BreakEven | None:
    if record.figures.get("compile_seconds") is None:
        return None
    others = (
        other
        for name, members in engines.items()
        if name != record.trial.engine
        for other in members
    )
    return break_even(
        record, [other for other in others if other.trial.length == record.trial.length]
    )


def _network(record: Record, free: set[str]) -> Key:
    """Return all settings but engine, length and what follows the length; and where it ran."""
    content = record.trial.model_dump(mode="json", exclude={"backend", "variant", "length", *free})
    return json.dumps(content, sort_keys=True), record.environment_id


def _following_length(records: Sequence[Record]) -> set[str]:
    """Return the settings without cost that have one value at each length of a task."""
    values: dict[tuple[str, str, int], set[object]] = {}
    for trial in (record.trial for record in records):
        for name in COSTLESS:
            values.setdefault((name, trial.task, trial.length), set()).add(getattr(trial, name))
    return set(COSTLESS) - {name for (name, _, _), settings in values.items() if len(settings) > 1}


def _product(rate: object, seconds: object) -> float | None:
    is_known = isinstance(rate, int | float) and isinstance(seconds, int | float) and seconds > 0
    product = float(rate) * float(seconds) if is_known else math.nan  # type: ignore[arg-type]
    return product if math.isfinite(product) else None

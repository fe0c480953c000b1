"""The options of a run, each declared once, as a field of ``RunOptions``.

The command line, the keys of a plan file, the keywords of ``harness.run`` and the checks derive
from these fields. To add an option, add a field here and use it where it takes effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from harness.contract import UsageError
from harness.measure import ISOLATIONS
from harness.plan.kinds import Choice, Kind, Memory, Pairs, Seconds, Switch, Text, Whole

HERE = "local"  # the executor that runs launches on this machine
_PLACED_BY_CLUSTER = "is for runs on this machine, because a cluster places launches itself"
_LACKED_BY_NODES = "names {} of this machine, which nodes of a cluster lack"


@dataclass(frozen=True)
class Option:
    """What is declared of an option.

    Attributes:
        kind: the values that it takes.
        help: what it does, in one sentence.
        flag: on the command line; empty: made from the field's name.
        short: a flag of one letter.
        default_words: the default in words, if the field's default does not say it.
        plan_key: its key in a plan file; empty: a plan cannot hold it.
        plan_help: what it does, for the schema of plans.
        refused_on_cluster: why it makes no sense on a cluster; empty: it does.
        only_on_cluster: whether it makes sense on a cluster alone.
        name: of the field.
        default: of the field.
    """

    kind: Kind
    help: str
    flag: str = ""
    short: str = ""
    default_words: str = ""
    plan_key: str = ""
    plan_help: str = ""
    refused_on_cluster: str = ""
    only_on_cluster: bool = False
    name: str = ""
    default: Any = None

    @property
    def full_help(self) -> str:
        """The help with the default."""
        words = self.default_words
        if not words and isinstance(self.default, int | str) and not isinstance(self.default, bool):
            words = str(self.default)
        return f"{self.help}  [default: {words}]" if words else self.help


def _option(default: Any, kind: Kind, help_: str, **more: Any) -> Any:
    return field(default=default, metadata={"option": Option(kind, help_, default=default, **more)})


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; the axes of a plan say what is run.

    Raises:
        UsageError: a value is out of range, or options contradict each other.
    """

    launches: int = _option(
        1,
        Whole(1, 1000),
        "Fresh processes per trial, interleaved.",
        plan_key="launches",
        plan_help="Fresh processes that measure each trial.",
    )
    fast: bool = _option(
        False, Switch(), "One launch, evaluated at the start and the end only, no sample."
    )
    rigorous: bool = _option(False, Switch(), "Ten launches: intervals that settle an argument.")
    order_seed: int = _option(0, Whole(0), "Shuffles the launches.")
    affinity: str | None = _option(
        None,
        Text("0,2|0-3"),
        "The processors on which to run.",
        default_words="any",
        refused_on_cluster=_LACKED_BY_NODES.format("processors"),
    )
    jobs: int = _option(
        1,
        Whole(1, 4096),
        "Launches at once, each on processors of its own; their speeds are marked.",
        short="-j",
        refused_on_cluster=_PLACED_BY_CLUSTER,
    )
    isolation: str = _option(
        ISOLATIONS[0],
        Choice(ISOLATIONS),
        "What has a process of its own; backend: quicker, to explore.",
        refused_on_cluster=_PLACED_BY_CLUSTER,
    )
    gpus: str | None = _option(
        None,
        Text("0,1"),
        "GPUs to use, by their driver's numbers, one launch on each at a time.",
        refused_on_cluster=_LACKED_BY_NODES.format("GPUs"),
    )
    pythons: tuple[str, ...] = _option(
        (),
        Pairs("NAME=PATH"),
        "Another interpreter with its own harness; repeat to compare several, interleaved.",
        flag="--python",
        refused_on_cluster=_LACKED_BY_NODES.format("interpreters"),
    )
    executor: str = _option(HERE, Choice((HERE, "ray")), "Run here, or on a Ray cluster.")
    address: str | None = _option(
        None,
        Text("HOST:PORT|auto|local"),
        "The cluster's head; local starts one here.",
        default_words="auto",
        only_on_cluster=True,
    )
    resources: tuple[str, ...] = _option(
        (),
        Pairs("NAME=AMOUNT"),
        "Custom resources of the cluster that launches need.",
        only_on_cluster=True,
    )
    labels: tuple[str, ...] = _option(
        (), Pairs("NAME=VALUE"), "Labels that the cluster's nodes must carry.", only_on_cluster=True
    )
    timeout_seconds: float | None = _option(
        None,
        Seconds(),
        "The longest that one launch may take.",
        flag="--timeout",
        default_words="no limit",
        plan_key="timeout",
        plan_help="The longest that one launch may take: 90, 90s, 10m, 2h.",
    )
    memory_limit_bytes: int | None = _option(
        None,
        Memory(),
        "What one launch may hold.",
        flag="--memory-limit",
        default_words="all but a reserve",
    )
    retries: int = _option(
        0,
        Whole(0, 100),
        "More tries if a launch fails, crashes, or lacks time or memory.",
        plan_key="retries",
    )
    retry_failed: bool = _option(
        False, Switch(), "Measure again what the store has that did not end ok."
    )
    fresh: bool = _option(False, Switch(), "Measure all again, whatever the store has.")
    snapshot_seconds: float = _option(
        600.0,
        Seconds(or_zero=True),
        "Time between snapshots from which a killed launch goes on; 0: none are kept.",
        flag="--snapshot-every",
        default_words="10m",
        plan_key="snapshot_every",
        plan_help="Time between snapshots of training: 90, 90s, 10m, 2h; 0: none are kept.",
        refused_on_cluster="keeps files on this machine, which nodes of a cluster lack",
    )
    sample_length: int = _option(
        300,
        Whole(0, 100_000),
        "Characters of text to sample from each text model.",
        flag="--sample",
    )
    sample_every: int | None = _option(
        None,
        Whole(1),
        "Training steps between samples of text, which show how it learns.",
        default_words="after step 1, a tenth, and at the end",
        plan_key="sample_every",
        plan_help="Training steps between samples of text.",
    )
    probe: str | None = _option(
        None,
        Text("all|NAME,..."),
        "Measures trained networks with these probes, after everything that is timed.",
        default_words="none",
        plan_key="probe",
        plan_help="Probes that measure the trained networks: all, or their names.",
    )
    probe_every: int | None = _option(
        None,
        Whole(1),
        "Probes measure the networks before training and after N, 2N, 4N, 8N, ... steps too.",
        default_words="at the end only",
        plan_key="probe_every",
        refused_on_cluster="keeps weights on this machine, which nodes of a cluster lack",
    )

    follow_lengths: bool = _option(
        False,
        Switch(),
        "Judges at the lengths of --evaluate-at at every evaluation, not only at the end.",
        plan_key="follow_lengths",
    )

    def __post_init__(self) -> None:
        problems = []
        for option in OPTIONS.values():
            value = getattr(self, option.name)
            if value is None and option.default is None:  # not asked for
                continue
            try:
                object.__setattr__(self, option.name, option.kind.read(value))
            except (TypeError, ValueError) as error:
                problems.append(f"{option.name} = {value!r}: {error}")
        if problems:
            raise UsageError("\n".join(problems))
        self._check_executor()
        if self.sample_every is not None and not self.sample_length:
            fix = "leave it out, or give --sample a length"
            raise UsageError(f"--sample-every would have no effect without a sample: {fix}")
        if self.probe_every is not None and self.probe is None:
            fix = "leave it out, or add --probe all"
            raise UsageError(f"--probe-every would have no effect without a probe: {fix}")
        if self.fresh and self.retry_failed:
            fix = "leave --retry-failed out"
            raise UsageError(f"--fresh measures all again, what failed included: {fix}")
        if self.isolation != ISOLATIONS[0] and self.launches > 1:
            raise UsageError(
                "--launches counts fresh processes, --isolation backend reuses them: "
                "leave one of them out"
            )

    def _check_executor(self) -> None:
        changed = [
            option for name, option in OPTIONS.items() if getattr(self, name) != option.default
        ]
        if self.executor == HERE:
            if flags := [option.flag for option in changed if option.only_on_cluster]:
                fix = "add --executor ray, or leave it out"
                raise UsageError(f"{', '.join(flags)}: only a cluster has that; {fix}")
            return
        for option in changed:
            if option.refused_on_cluster:
                raise UsageError(f"{option.flag} {option.refused_on_cluster}: leave it out")


def _declared() -> dict[str, Option]:
    options = {}
    for item in fields(RunOptions):
        option: Option = item.metadata["option"]
        flag = option.flag or f"--{item.name.replace('_', '-')}"
        options[item.name] = replace(option, name=item.name, flag=flag)
    return options


OPTIONS: Mapping[str, Option] = _declared()
PLAN_KEYS: Mapping[str, Option] = {
    option.plan_key: option for option in OPTIONS.values() if option.plan_key
}


def with_keywords(message: str) -> str:
    """Return a message that names options by their flags, with Python's keywords in their place."""
    names = {option.flag: option.name for option in OPTIONS.values()}
    return re.sub(r"--[a-z]+(-[a-z]+)*", lambda flag: names.get(flag[0], flag[0]), message)

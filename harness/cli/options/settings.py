"""The options of ``harness run`` that say where and how launches run, as settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.contract import Trial, UsageError
from harness.execute.affinity import read_affinity
from harness.execute.settings import LocalSettings
from harness.execute.slots import as_asked, read_slots, usable

if TYPE_CHECKING:
    from harness.execute.interpreters import Interpreter


def settings_of(
    options: Mapping[str, Any],
    trials: Sequence[Trial],
    interpreters: Mapping[str, Interpreter],
    cluster: str | None,
) -> LocalSettings:
    """Return the settings of every launch of these trials.

    Raises:
        UsageError: options that exclude each other, that an interpreter's harness lacks, or that
            this machine cannot honour (a dry run asks the machine nothing).
    """
    _refuse_unknown_to(interpreters, options)
    if options["isolation"] != "launch" and options["launches"] > 1:
        raise UsageError(
            "--launches counts fresh processes, --isolation backend reuses them: leave one of them out"
        )
    threads = [trial.processors for trial in trials]
    affinity = read_affinity(options["affinity"], threads) if options["affinity"] else ()
    processors = usable(affinity) if options["jobs"] > 1 else affinity
    read = as_asked if options["dry_run"] else read_slots
    return LocalSettings(
        timeout_seconds=options["timeout"],
        memory_limit_bytes=options["memory_limit"],
        sample_length=options["sample_length"],
        affinity=affinity,
        isolation=options["isolation"],
        slots=read(options["jobs"], options["gpus"], trials, processors),
        pythons=interpreters,
        retries=options["retries"],
        cluster=cluster,
    )


def _refuse_unknown_to(interpreters: Mapping[str, Interpreter], options: Mapping[str, Any]) -> None:
    for interpreter in interpreters.values():
        if options["affinity"]:
            interpreter.need("affinity", "--affinity")
        if options["jobs"] > 1:
            interpreter.need("affinity", "--jobs")
        if options["isolation"] != "launch":
            interpreter.need("isolation", "--isolation")

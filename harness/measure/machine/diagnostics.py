"""Why the figures of a machine may be noisy or unfair, each reason with its fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contract.wording import mebibytes
from harness.measure.machine.verification import THREAD_VARIABLES

IDLE_LOAD = 0.1  # per core, averaged over a minute; above it other processes are at work
LITTLE_MEMORY_BYTES = 2**30
SOME_SWAP_BYTES = 64 * 2**20
STEADY_GOVERNORS = ("performance",)
ENOUGH_LAUNCHES = 5
NOISY_FLOOR = 0.05


@dataclass(frozen=True)
class Diagnostic:
    """A problem, and its fix."""

    problem: str
    fix: str


@dataclass(frozen=True)
class MachineFacts:
    """The facts for the diagnostics.

    Attributes:
        settings: of ``hardware.cpu_settings``.
        conditions: of ``hardware.conditions``.
        virtual: whether a hypervisor runs the machine.
        cores: physical cores.
        usable: processors that this process may use.
        threads: of each trial.
        launches: of each trial.
        foreign: processes of others on a GPU.
        variables: of the environment.
        floors: engine -> measured noise floor.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    virtual: bool | None = None
    cores: int | None = None
    usable: int | None = None
    threads: int = 1
    launches: int = ENOUGH_LAUNCHES
    foreign: Sequence[int] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)


def diagnose(facts: MachineFacts) -> list[Diagnostic]:
    """Return the reasons not to trust figures from this machine, each with its fix."""
    parts = (_of_the_cpu, _of_now, _of_the_request, _of_the_floors)
    return [Diagnostic(problem, fix) for part in parts for problem, fix in part(facts)]


def _of_the_cpu(facts: MachineFacts) -> Iterator[tuple[str, str]]:
    governors = [*(facts.settings.get("governors") or ())]
    if unsteady := [name for name in governors if name not in STEADY_GOVERNORS]:
        yield (
            f"the frequency governor is {', '.join(unsteady)}: the clock follows the load",
            "sudo cpupower frequency-set --governor performance",
        )
    if facts.settings.get("turbo"):
        yield (
            "turbo is on: the clock follows temperature and the other cores",
            "switch turbo (boost) off in the firmware, or in /sys/devices/system/cpu",
        )
    if facts.settings.get("multithreading"):
        yield (
            "two processors share a core: a neighbour takes half of it",
            "bind to one processor per core with --affinity, or switch multithreading off",
        )
    if facts.virtual:
        interleaved = "compare only what was interleaved in one run, with --launches 5 or more"
        yield (
            "this is a virtual machine: neighbours that cannot be seen use its cores",
            f"{interleaved}; or take a machine of your own",
        )


def _of_now(facts: MachineFacts) -> Iterator[tuple[str, str]]:
    now = facts.conditions
    load = now.get("load_per_core")
    if load is not None and load > IDLE_LOAD:
        yield (
            f"the load is {load:.2f} per core before anything is measured",
            "end what else is running, and wait a minute",
        )
    free = now.get("free_memory_bytes")
    if free is not None and free < LITTLE_MEMORY_BYTES:
        yield f"only {mebibytes(free)} of memory are free", "end what holds memory"
    swap = now.get("used_swap_bytes")
    if swap is not None and swap > SOME_SWAP_BYTES:
        yield (
            f"{mebibytes(swap)} are swapped out",
            "end what holds memory, then swapoff -a && swapon -a",
        )
    if facts.foreign:
        listed = ", ".join(map(str, facts.foreign))
        yield (
            f"other processes compute on the GPU: {listed}",
            "end them, or choose another --device",
        )


def _of_the_request(facts: MachineFacts) -> Iterator[tuple[str, str]]:
    threads, usable, cores = facts.threads, facts.usable, facts.cores
    if usable is not None and threads > usable:
        yield f"{threads} threads share {usable} processors", f"--threads {usable} or fewer"
    elif cores is not None and threads > cores:
        yield f"{threads} threads share {cores} cores", f"--threads {cores} or fewer"
    if facts.launches < ENOUGH_LAUNCHES:
        yield (
            f"{facts.launches} launches prove no difference, however large",
            f"--launches {ENOUGH_LAUNCHES} or more",
        )
    for name in THREAD_VARIABLES:
        value = facts.variables.get(name)
        if value is not None and value != str(threads):
            yield (
                f"{name}={value} is set; trials run with {threads}",
                f"say --threads {value} if that is what you want, or unset {name}",
            )


def _of_the_floors(facts: MachineFacts) -> Iterator[tuple[str, str]]:
    for engine, floor in facts.floors.items():
        if floor > NOISY_FLOOR:
            yield (
                f"equal code differs by up to {floor:.0%} with {engine}",
                "quieten the machine, measure longer (--steps), or take more --launches",
            )

"""What makes the figures of a machine noisy or unfair, each with what to do about it. Pure: facts in, words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.measure.machine.verification import THREAD_VARIABLES

IDLE_LOAD = 0.1  # per core, averaged over a minute, above which somebody else is at work
LITTLE_MEMORY = 2**30
SOME_SWAP = 64 * 2**20
STEADY_GOVERNORS = ("performance",)
ENOUGH_LAUNCHES = 5
NOISY_FLOOR = 0.05


@dataclass(frozen=True)
class Diagnostic:
    """A problem, and its fix."""

    problem: str
    fix: str


@dataclass(frozen=True)
class Facts:
    """What the concerns are judged by.

    Attributes:
        settings: of ``machine.cpu_settings``.
        conditions: of ``machine.conditions``.
        virtual: whether a hypervisor runs the machine.
        cores: physical cores.
        usable: processors that this process may use.
        threads: that each trial is to have.
        launches: that each trial is to have.
        foreign: processes of others on a GPU.
        variables: the environment's variables.
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


def diagnose(facts: Facts) -> list[Diagnostic]:
    """Return what speaks against trusting figures from this machine; [] where nothing does."""
    return [*_of_the_cpu(facts), *_of_now(facts), *_of_the_request(facts), *_of_the_floors(facts)]


def _of_the_cpu(facts: Facts) -> list[Diagnostic]:
    found = []
    governors = [
        name for name in facts.settings.get("governors") or () if name not in STEADY_GOVERNORS
    ]
    if governors:
        fix = "sudo cpupower frequency-set --governor performance"
        found.append(
            Diagnostic(
                f"the frequency governor is {', '.join(governors)}: the clock follows the load",
                fix,
            )
        )
    if facts.settings.get("turbo"):
        fix = "switch turbo (boost) off in the firmware, or in /sys/devices/system/cpu"
        found.append(
            Diagnostic("turbo is on: the clock follows temperature and the other cores", fix)
        )
    if facts.settings.get("multithreading"):
        fix = "bind to one processor per core with --affinity, or switch multithreading off"
        found.append(Diagnostic("two processors share a core: a neighbour takes half of it", fix))
    if facts.virtual:
        fix = "compare only what was interleaved in one run, with --launches 5 or more; or take a machine of your own"
        found.append(
            Diagnostic(
                "this is a virtual machine: neighbours that cannot be seen use its cores", fix
            )
        )
    return found


def _of_now(facts: Facts) -> list[Diagnostic]:
    found, now = [], facts.conditions
    load = now.get("load_per_core")
    if load is not None and load > IDLE_LOAD:
        fix = "end what else is running, and wait a minute"
        found.append(
            Diagnostic(f"the load is {load:.2f} per core before anything is measured", fix)
        )
    free = now.get("free_memory_bytes")
    if free is not None and free < LITTLE_MEMORY:
        found.append(
            Diagnostic(f"only {free / 2**20:.0f} MiB of memory are free", "end what holds memory")
        )
    swap = now.get("used_swap_bytes")
    if swap is not None and swap > SOME_SWAP:
        fix = "end what holds memory, then swapoff -a && swapon -a"
        found.append(Diagnostic(f"{swap / 2**20:.0f} MiB are swapped out", fix))
    if facts.foreign:
        named = ", ".join(map(str, facts.foreign))
        found.append(
            Diagnostic(
                f"other processes compute on the GPU: {named}",
                "end them, or choose another --device",
            )
        )
    return found


def _of_the_request(facts: Facts) -> list[Diagnostic]:
    found = []
    if facts.usable is not None and facts.threads > facts.usable:
        fix = f"--threads {facts.usable} or fewer"
        found.append(Diagnostic(f"{facts.threads} threads share {facts.usable} processors", fix))
    elif facts.cores is not None and facts.threads > facts.cores:
        found.append(
            Diagnostic(
                f"{facts.threads} threads share {facts.cores} cores",
                f"--threads {facts.cores} or fewer",
            )
        )
    if facts.launches < ENOUGH_LAUNCHES:
        fix = f"--launches {ENOUGH_LAUNCHES} or more"
        found.append(
            Diagnostic(f"{facts.launches} launches prove no difference, however large", fix)
        )
    for name in THREAD_VARIABLES:
        value = facts.variables.get(name)
        if value is not None and value != str(facts.threads):
            problem = f"{name}={value} is set; trials run with {facts.threads}"
            found.append(
                Diagnostic(
                    problem, f"say --threads {value} if that is what you want, or unset {name}"
                )
            )
    return found


def _of_the_floors(facts: Facts) -> list[Diagnostic]:
    return [
        Diagnostic(
            f"equal code differs by up to {floor:.0%} with {engine}",
            "quieten the machine, measure longer (--steps), or take more --launches",
        )
        for engine, floor in facts.floors.items()
        if floor > NOISY_FLOOR
    ]

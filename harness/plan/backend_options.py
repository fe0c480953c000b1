"""The options that a plan gives to one backend alone: how it executes, not what it computes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from harness.contract import UnknownNameError
from harness.contract.wording import split_engine
from harness.plan.request import Combination
from harness.plugins import Plugins

EXECUTION_AXES = ("device", "devices", "dtype", "threads", "checkpoint")


class BackendOptions:
    """Options by BACKEND, BACKEND:VARIANT or group; if several apply, the last one wins."""

    def __init__(
        self, options: Mapping[str, Combination], overridden: Collection[str], plugins: Plugins
    ) -> None:
        self._options = options
        self._overridden = overridden
        self._plugins = plugins
        self._names = {*plugins.backends, *plugins.groups}
        self._used: set[str] = set()

    def applied(self, combination: Combination) -> Combination:
        """Return the combination with the options of its backend in place of its own values."""
        asked = str(combination["backend"])
        for engine, options in self._options.items():
            if self._covers(engine, asked):
                self._used.add(engine)
                own = {axis: value for axis, value in options.items() if axis in EXECUTION_AXES}
                combination = combination | own
        return combination

    def has(self, engine: str) -> bool:
        """Return whether there are options of this BACKEND:VARIANT alone."""
        return engine in self._options

    def problems(self) -> Iterator[str]:
        """Yield a problem for each axis that is not an execution axis, and each unknown backend."""
        for engine, options in self._options.items():
            for axis in options:
                if axis not in EXECUTION_AXES:
                    error = UnknownNameError("option of a backend", axis, EXECUTION_AXES)
                    yield f"backend.{engine}: {error}"
            if not self._exists(engine):
                error = UnknownNameError("backend", engine, self._names, "harness list backends")
                yield f"backend.{engine}: {error}"

    def idle(self) -> Iterator[str]:
        """Yield a problem for each backend that has options and does not run."""
        if "backend" in self._overridden:
            return
        for engine in self._options:
            if self._exists(engine) and engine not in self._used:
                problem = f"backend.{engine}: the plan does not run {engine!r}"
                yield f"{problem}: add it to backend, or drop its options"

    def _exists(self, engine: str) -> bool:
        return split_engine(engine)[0] in self._names

    def _covers(self, engine: str, asked: str) -> bool:
        names = {*self._plugins.groups.get(engine, ()), engine}
        return asked in names or split_engine(asked)[0] in names

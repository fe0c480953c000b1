"""The options that a plan gives to one backend alone: how it executes, and nothing of what it computes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from harness.contract import UnknownNameError
from harness.plan.request import Combination
from harness.plugins import Plugins

EXECUTION_AXES = ("device", "devices", "dtype", "threads", "checkpoint")


class BackendOptions:
    """Options by BACKEND, BACKEND:VARIANT or group; of several that mean a combination, the later wins."""

    def __init__(
        self, options: Mapping[str, Combination], overridden: Collection[str], plugins: Plugins
    ) -> None:
        self._options = options
        self._overridden = overridden
        self._plugins = plugins
        self._met: set[str] = set()

    def applied(self, combination: Combination) -> Combination:
        """Return the combination with the options of its backend in place of its own values."""
        asked = str(combination["backend"])
        for engine, values in self._options.items():
            if self._means(engine, asked):
                self._met.add(engine)
                combination = combination | {
                    name: one for name, one in values.items() if name in EXECUTION_AXES
                }
        return combination

    def has(self, engine: str) -> bool:
        """Say whether there are options of this BACKEND:VARIANT alone."""
        return engine in self._options

    def problems(self) -> Iterator[str]:
        """Yield a problem for each axis that no backend has for itself, and each unknown backend."""
        for engine, values in self._options.items():
            for name in values:
                if name not in EXECUTION_AXES:
                    yield f"backend.{engine}: {UnknownNameError('option of a backend', name, EXECUTION_AXES)}"
            if not self._is_known(engine):
                known = {*self._plugins.backends, *self._plugins.groups}
                yield f"backend.{engine}: {UnknownNameError('backend', engine, known, 'harness list backends')}"

    def idle(self) -> Iterator[str]:
        """Yield a problem for each backend that the plan does not run."""
        for engine in self._options:
            if (
                self._is_known(engine)
                and engine not in self._met
                and "backend" not in self._overridden
            ):
                yield f"backend.{engine}: the plan does not run {engine!r}: add it to backend, or drop its options"

    def _is_known(self, engine: str) -> bool:
        return engine.partition(":")[0] in {*self._plugins.backends, *self._plugins.groups}

    def _means(self, engine: str, asked: str) -> bool:
        names = {*self._plugins.groups.get(engine, ()), engine}
        return asked in names or asked.partition(":")[0] in names

"""What the installed plugins offer, by name. An unknown name is an error with its fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from harness.contract.backend import Backend, Missing
from harness.contract.cell import Cell
from harness.contract.errors import UnavailableError, UnknownNameError, with_fix
from harness.contract.hooks import Published, Suite
from harness.contract.probes.probe import Probe
from harness.contract.records.exporter import Exporter
from harness.contract.task import Task
from harness.plugins import query

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded."""

    name: str
    distribution: str
    reason: str
    fix: str

    def __str__(self) -> str:
        problem = f"plugin {self.name!r} (from {self.distribution}) is broken: {self.reason}"
        return with_fix(problem, self.fix)


@dataclass(frozen=True)
class Loaded:
    """A plugin that works.

    Attributes:
        name: of its entry point.
        distribution: name and version.
        offers: kind and name of each entry.
        changes: what it changed in this process while it was loaded. They were undone.
    """

    name: str
    distribution: str
    offers: tuple[tuple[str, str], ...]
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plugins:
    """Everything that the installed plugins offer, by name."""

    backends: Mapping[str, Backend]
    tasks: Mapping[str, type[Task]]
    cells: Mapping[str, Cell]
    loaded: tuple[Loaded, ...] = ()
    broken: tuple[Broken, ...] = ()
    blocked: tuple[str, ...] = ()
    suites: Mapping[str, Suite] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    exporters: Mapping[str, Exporter] = field(default_factory=dict)

    def backend(self, name: str) -> Backend:
        """Return the backend of that name. Its library may be missing.

        Raises:
            UnknownNameError: no plugin offers it.
            UnavailableError: its plugin is broken or blocked.
        """
        return self._get(self.backends, "backend", name)

    def usable_backend(self, name: str) -> Backend:
        """Return the backend of that name if it can run here.

        Raises:
            UnavailableError: its library is missing; the message has the fix.
        """
        backend = self.backend(name)
        answer = query.available_or_missing(backend)
        if isinstance(answer, Missing):
            problem = f"backend {name!r} cannot run here: {answer.reason}"
            raise UnavailableError(with_fix(problem, answer.fix))
        return backend

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Group -> the names of its backends. A group with a backend's name is left out."""
        members: dict[str, list[str]] = {}
        for name, backend in self.backends.items():
            for group in backend.groups:
                members.setdefault(group, []).append(name)
        return {
            group: tuple(names) for group, names in members.items() if group not in self.backends
        }

    def usable_backends(self, name: str) -> list[Backend]:
        """Return the backend of that name, or all backends of that group, if all can run here.

        A group is never reduced silently, because the comparison would then cover less than was
        asked for.

        Raises:
            UnavailableError: one cannot run; all that are missing are named, each with its fix.
        """
        members = self.groups.get(name)
        if members is None:
            return [self.usable_backend(name)]
        usable, missing = [], []
        for member in members:
            answer = query.available_or_missing(self.backends[member])
            if isinstance(answer, Missing):
                missing.append(with_fix(f"{member}: {answer.reason}", answer.fix))
            else:
                usable.append(member)
        if missing:
            instead = f"; or name those that are here: {','.join(usable)}" if usable else ""
            raise UnavailableError(
                f"group {name!r} cannot run whole here: {'; '.join(missing)}{instead}"
            )
        return [self.backends[member] for member in members]

    def task(self, name: str) -> type[Task]:
        """Return the task class of that name. It raises as ``backend`` does."""
        return self._get(self.tasks, "task", name)

    def cell(self, name: str) -> Cell:
        """Return the cell of that name. It raises as ``backend`` does."""
        return self._get(self.cells, "cell", name)

    def suite(self, name: str) -> Suite:
        """Return the suite of that name. It raises as ``backend`` does."""
        return self._get(self.suites, "suite", name)

    def probe(self, name: str) -> Probe:
        """Return the probe of that name. It raises as ``backend`` does."""
        return self._get(self.probes, "probe", name)

    def exporter(self, name: str) -> Exporter:
        """Return the exporter of that name. It raises as ``backend`` does."""
        return self._get(self.exporters, "exporter", name)

    def distribution_of(self, kind: str, name: str) -> str:
        """Return ``distribution version`` of the plugin that offers this name, for messages."""
        plugin = self._owner((kind, name))
        return "unknown" if plugin is None else plugin.distribution

    def needed(self, *entries: tuple[str, str]) -> tuple[str, ...]:
        """Return the plugins that offer these (kind, name) pairs; () if one is not offered."""
        names: list[str] = []
        for entry in entries:
            plugin = self._owner(entry)
            if plugin is None:
                return ()
            if plugin.name not in names:
                names.append(plugin.name)
        return tuple(names)

    def label(self, kind: str, name: str) -> str:
        """Return the label of an entry in messages: ``task 'echo' from harness-echo 1.0``."""
        return f"{kind} {name!r} from {self.distribution_of(kind, name)}"

    def _owner(self, entry: tuple[str, str]) -> Loaded | None:
        return next((plugin for plugin in self.loaded if entry in plugin.offers), None)

    def _get(self, entries: Mapping[str, Entry], kind: str, name: str) -> Entry:
        if name in entries:
            return entries[name]
        for plugin in self.broken:
            if plugin.name == name:
                raise UnavailableError(str(plugin))
        if name in self.blocked:
            raise UnavailableError(
                f"plugin {name!r} is blocked by --plugin no:{name}; leave that option out to use it"
            )
        names = [*entries, *self.groups] if kind == "backend" else entries
        unknown = UnknownNameError(kind, name, names, f"harness list {kind}s")
        if self.broken:  # the name may be one of theirs
            unknown.args = (f"{unknown}. Not loaded: {'; '.join(map(str, self.broken))}",)
        raise unknown

"""Discovery and loading of plugins: the only file that knows pluggy. One broken plugin never stops the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, TypeVar

import pluggy

from harness.contract import hooks
from harness.contract.backend import Backend, Missing
from harness.contract.cell import Cell
from harness.contract.errors import HarnessError, PluginError, UnavailableError, UnknownNameError
from harness.contract.task import Task, TaskOptions
from harness.contract.wording import check_name, error_text, shortened, text_of
from harness.plugins import query
from harness.plugins.containment import ExitCalledError, contained
from harness.plugins.loading import being_loaded, say_who_ended_the_last

GROUP = "harness"
LONGEST = 200  # characters of what a hook returned
Entry = TypeVar("Entry")
_left_out: list[str] = []  # names that no call of ``load_plugins`` imports


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be used: why, from which distribution, and what helps."""

    name: str
    distribution: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"plugin {self.name!r} (from {self.distribution}) is broken: {self.reason}. Fix: {self.fix}"


@dataclass(frozen=True)
class Loaded:
    """A plugin that works, and what it offers: kind and name of each."""

    name: str
    distribution: str
    offers: tuple[tuple[str, str], ...]
    changes: tuple[str, ...] = ()  # what it did to this process while it was loaded; put back since


@dataclass(frozen=True)
class Plugins:
    """Everything that the installed plugins offer, by name; asking for what is not there is an error with the fix."""

    backends: Mapping[str, Backend]
    tasks: Mapping[str, type[Task]]
    cells: Mapping[str, Cell]
    loaded: tuple[Loaded, ...] = ()
    broken: tuple[Broken, ...] = ()
    blocked: tuple[str, ...] = ()

    def backend(self, name: str) -> Backend:
        """Return the backend of that name (it may still be ``Missing`` its library)."""
        return self._get(self.backends, "backend", name)

    def usable_backend(self, name: str) -> Backend:
        """Return the backend of that name if it can run here.

        Raises:
            UnavailableError: its library is missing; the message carries the fix.
        """
        backend = self.backend(name)
        answer = query.available_or_missing(backend)
        if isinstance(answer, Missing):
            raise UnavailableError(
                f"backend {name!r} cannot run here: {answer.reason}. Fix: {answer.fix}"
            )
        return backend

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Group -> the names of its backends; a name that is also a backend's own means that backend alone."""
        found: dict[str, list[str]] = {}
        for name, backend in self.backends.items():
            for group in backend.groups:
                found.setdefault(group, []).append(name)
        return {group: tuple(names) for group, names in found.items() if group not in self.backends}

    def usable_backends(self, name: str) -> list[Backend]:
        """Return the backend of that name, or every backend of the group of that name, if all of them can run here.

        Raises:
            UnavailableError: one cannot; all that are missing are named, each with its fix.
        """
        members = self.groups.get(name)
        if members is None:
            return [self.usable_backend(name)]
        answered = {member: query.available_or_missing(self.backends[member]) for member in members}
        if missing := [
            f"{m}: {a.reason}. Fix: {a.fix}" for m, a in answered.items() if isinstance(a, Missing)
        ]:
            raise UnavailableError(_group_cannot_run(name, members, missing))
        return [self.backends[member] for member in members]

    def task(self, name: str) -> type[Task]:
        """Return the task class of that name."""
        return self._get(self.tasks, "task", name)

    def cell(self, name: str) -> Cell:
        """Return the cell of that name."""
        return self._get(self.cells, "cell", name)

    def distribution_of(self, kind: str, name: str) -> str:
        """Return ``distribution version`` of the plugin that offers this name, for messages."""
        return next(
            (plugin.distribution for plugin in self.loaded if (kind, name) in plugin.offers),
            "unknown",
        )

    def needed(self, *wanted: tuple[str, str]) -> tuple[str, ...]:
        """Return the names of the plugins that offer these (kind, name) pairs; () if a pair is offered by none."""
        owners = [
            next((plugin.name for plugin in self.loaded if each in plugin.offers), None)
            for each in wanted
        ]
        names = tuple(dict.fromkeys(name for name in owners if name is not None))
        return () if None in owners else names

    def label(self, kind: str, name: str) -> str:
        """Return what errors call this thing: ``task 'echo' from harness-echo 1.0``."""
        return f"{kind} {name!r} from {self.distribution_of(kind, name)}"

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
        known = [*entries, *self.groups] if kind == "backend" else entries
        raise UnknownNameError(kind, name, known, f"harness list {kind}s")


def _group_cannot_run(name: str, members: Sequence[str], missing: Sequence[str]) -> str:
    """Return why a group cannot run, and what helps: a group that shrank in silence would compare less than asked."""
    there = [
        member for member in members if not any(one.startswith(f"{member}: ") for one in missing)
    ]
    instead = f"; or name those that are here: {','.join(there)}" if there else ""
    return f"group {name!r} cannot run whole here: {'; '.join(missing)}{instead}"


@dataclass
class _Found:
    """What has been loaded so far."""

    backends: dict[str, Backend] = field(default_factory=dict)
    tasks: dict[str, type[Task]] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)

    def add(self, offered: list[tuple[str, Any]]) -> None:
        """Add one plugin's entries, all or none."""
        for kind, entry in offered:
            if entry.name in self.of(kind):
                raise PluginError(f"{kind} name {entry.name!r} is already taken by another plugin")
        names = [(kind, entry.name) for kind, entry in offered]
        if len(set(names)) < len(names):
            raise PluginError(
                f"it offers the same name twice: {', '.join(name for _, name in names)}"
            )
        for kind, entry in offered:
            self.of(kind)[entry.name] = entry

    def of(self, kind: str) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {
            "backend": self.backends,
            "task": self.tasks,
            "cell": self.cells,
        }
        return found[kind]


@contextlib.contextmanager
def left_out(names: Iterable[str]) -> Iterator[None]:
    """Block these plugins in every ``load_plugins`` inside, whoever calls it."""
    before = list(_left_out)
    _left_out.extend(names)
    try:
        yield
    finally:
        _left_out[:] = before


def load_plugins(block: Iterable[str] = (), only: Iterable[str] = ()) -> Plugins:
    """Load every installed plugin but the blocked ones; broken ones are listed with the reason.

    Changes that a plugin makes in this process while it is loaded are undone. Exception: with
    ``only``, as in a worker, environment variables that plugins set are kept.

    Args:
        block: entry-point names that are not even imported, nor are those of ``left_out``.
        only: entry-point names to import; empty: all.
    """
    blocked, wanted = tuple(dict.fromkeys([*_left_out, *block])), tuple(only)
    found, loaded, broken = _Found(), [], []
    if not wanted:
        say_who_ended_the_last(blocked)
    for entry_point, distribution in _entry_points():
        if entry_point.name in blocked or (wanted and entry_point.name not in wanted):
            continue
        label = f"{distribution.metadata['Name']} {distribution.version}"
        try:
            with being_loaded(entry_point.name, label), contained(variables=not wanted) as changes:
                offered = _offered(entry_point)
            found.add(offered)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (sys.exit(), pytest.skip() and the like, too)
            broken.append(
                Broken(entry_point.name, label, _reason(error), _fix(error, distribution))
            )
        else:
            offers = tuple((kind, entry.name) for kind, entry in offered)
            loaded.append(Loaded(entry_point.name, label, offers, tuple(changes)))
    return Plugins(found.backends, found.tasks, found.cells, tuple(loaded), tuple(broken), blocked)


def _entry_points() -> list[tuple[EntryPoint, Distribution]]:
    """Return the entry points of the group in a stable order: our own first, then by distribution and name."""
    seen: dict[tuple[str, str], tuple[EntryPoint, Distribution]] = {}
    for distribution in distributions():
        ours = [
            entry_point for entry_point in distribution.entry_points if entry_point.group == GROUP
        ]
        # Parsing the metadata of every distribution would take most of the time of ``harness
        # list``.
        owner = (distribution.metadata["Name"] or "unknown") if ours else ""
        for entry_point in ours:
            # The first on the path wins, as for imports: a second copy of one distribution is no
            # second plugin.
            seen.setdefault((owner.lower(), entry_point.name), (entry_point, distribution))
    order = sorted(seen, key=lambda key: (key[0] != "rnn-harness", key))
    return [seen[key] for key in order]


def _offered(entry_point: EntryPoint) -> list[tuple[str, Any]]:
    """Import one plugin in a manager of its own and return its entries as (kind, entry)."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    check_name("plugin", entry_point.name)
    module = entry_point.load()
    manager.register(module, name=entry_point.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PluginError(f"module {entry_point.value!r} implements no hook of the harness")
    offered = [("backend", item) for item in _call(manager.hook.harness_backends, Backend)]
    offered += [("task", item) for item in _call(manager.hook.harness_tasks, Task)]
    offered += [("cell", item) for item in _call(manager.hook.harness_cells, Cell)]
    for kind, item in offered:
        _check_entry(kind, item)
    return offered


def _call(hook: Any, kind: type) -> list[Any]:
    answers = hook()
    if len(answers) < len(hook.get_hookimpls()):
        raise PluginError(f"{hook.name} must return a list, got None")
    entries = [item for answer in answers for item in answer]
    for item in entries:
        good = (
            issubclass(item, Task)
            if isinstance(item, type) and kind is Task
            else isinstance(item, kind)
        )
        if not good:
            wanted = "subclasses of Task" if kind is Task else f"instances of {kind.__name__}"
            raise PluginError(
                f"{hook.name} must return {wanted}, got {shortened(text_of(item), LONGEST)}"
            )
    return entries


def _check_entry(kind: str, item: Any) -> None:
    check_name(kind, getattr(item, "name", None))
    missing = sorted(getattr(item, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"{kind} {item.name!r} does not implement {', '.join(missing)}")
    if kind == "backend":
        _check_groups(item)
    if kind == "cell":
        _check_cell(item)
    if kind == "task" and not (
        isinstance(item.Options, type) and issubclass(item.Options, TaskOptions)
    ):
        raise PluginError(
            f"task {item.name!r}: Options must be a subclass of TaskOptions, got {item.Options!r}"
        )


def _check_groups(backend: Backend) -> None:
    if not isinstance(backend.groups, tuple):
        raise PluginError(
            f"backend {backend.name!r}: groups must be a tuple of names, got {backend.groups!r}"
        )
    for group in backend.groups:
        check_name("group", group)


def _check_cell(cell: Cell) -> None:
    """Check what a cell says of itself: engines and tables rely on it before the cell is run."""
    for kind, names in (("gates", getattr(cell, "gates", None)), ("states", cell.states)):
        listed = (
            isinstance(names, tuple | list)
            and names
            and all(isinstance(name, str) and name for name in names)
        )
        if not listed or len(set(names or ())) < len(names or ()):
            got = shortened(text_of(names), LONGEST)
            raise PluginError(
                f"cell {cell.name!r}: {kind} must be a tuple of different names, got {got}"
            )
    allowed: dict[str, tuple[Any, ...]] = {"recurrent": (True, False), "memory_sign": (1, -1)}
    allowed |= dict.fromkeys(("memory_gate", "input_gate"), (None, *cell.gates))
    for kind, values in allowed.items():
        if (value := getattr(cell, kind)) not in values:
            raise PluginError(
                f"cell {cell.name!r}: {kind} must be one of {values}, got {text_of(value)[:LONGEST]}"
            )


def _reason(error: BaseException) -> str:
    return shortened(_why(error))


def _why(error: BaseException) -> str:
    if isinstance(error, ExitCalledError):
        return f"{error} while it was loaded"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was loaded"
    if isinstance(error, pluggy.PluginValidationError):
        return (
            f"it declares a hook that the harness does not know, or with another signature: {error}"
        )
    if isinstance(error, HarnessError):
        return str(error)
    return error_text(error)


def _fix(error: BaseException, distribution: Distribution) -> str:
    name = distribution.metadata["Name"]
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install the missing module {error.name!r} (pip install --upgrade {name})"
    if isinstance(error, pluggy.PluginValidationError):
        return "use the hooks of harness.contract.hooks: harness_backends, harness_tasks, harness_cells"
    return f"upgrade it (pip install --upgrade {name}), remove it (pip uninstall {name}), or report it to its author"

"""Finds and loads plugins. Only this file uses pluggy. A broken plugin never stops the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import pluggy

from harness.contract import hooks
from harness.contract.backend import Backend
from harness.contract.cell import Cell
from harness.contract.errors import HarnessError, PluginError
from harness.contract.hooks import Published, Suite
from harness.contract.probes.probe import Probe
from harness.contract.records.exporter import Exporter
from harness.contract.task import Task
from harness.contract.wording import check_name, error_text, shortened
from harness.plugins.catalog import Broken, Loaded, Plugins
from harness.plugins.containment import ExitCalledError, contained
from harness.plugins.declarations import check_declaration, check_entries
from harness.plugins.loading import being_loaded, say_who_ended_the_last

GROUP = "harness"
_left_out: list[str] = []  # names that no call of ``load_plugins`` imports


@contextlib.contextmanager
def left_out(names: Iterable[str]) -> Iterator[None]:
    """Block these plugins in every call of ``load_plugins`` inside."""
    before = list(_left_out)
    _left_out.extend(names)
    try:
        yield
    finally:
        _left_out[:] = before


def load_plugins(block: Iterable[str] = (), only: Iterable[str] = ()) -> Plugins:
    """Load every installed plugin except the blocked ones. Broken ones are listed with the reason.

    Changes that a plugin makes in this process while it is loaded are undone. Exception: with
    ``only``, as in a worker, environment variables that plugins set are kept.

    Args:
        block: entry-point names that are not imported, in addition to those of ``left_out``.
        only: entry-point names to import; empty: all.
    """
    blocked, wanted = tuple(dict.fromkeys([*_left_out, *block])), tuple(only)
    kinds = ("backend", "task", "cell", "probe", "suite", "published", "exporter")
    entries: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    loaded, broken = [], []
    if not wanted:
        say_who_ended_the_last(blocked)
    for entry_point, distribution in _entry_points():
        if entry_point.name in blocked or (wanted and entry_point.name not in wanted):
            continue
        label = f"{distribution.metadata['Name']} {distribution.version}"
        try:
            with being_loaded(entry_point.name, label), contained(variables=not wanted) as changes:
                offered = _offered(entry_point)
            _add(entries, offered)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (sys.exit() and pytest.skip() too)
            reason, fix = shortened(_reason(error)), _fix(error, distribution.metadata["Name"])
            broken.append(Broken(entry_point.name, label, reason, fix))
        else:
            offers = tuple((kind, entry.name) for kind, entry in offered)
            loaded.append(Loaded(entry_point.name, label, offers, tuple(changes)))
    return Plugins(
        entries["backend"],
        entries["task"],
        entries["cell"],
        tuple(loaded),
        tuple(broken),
        blocked,
        suites=entries["suite"],
        probes=entries["probe"],
        published=entries["published"],
        exporters=entries["exporter"],
    )


def _add(entries: dict[str, dict[str, Any]], offered: list[tuple[str, Any]]) -> None:
    """Add the entries of one plugin, all or none.

    Raises:
        PluginError: two entries of a kind have the same name.
    """
    for kind, entry in offered:
        if entry.name in entries[kind]:
            raise PluginError(f"{kind} name {entry.name!r} is already taken by another plugin")
    names = [(kind, entry.name) for kind, entry in offered]
    if len(set(names)) < len(names):
        raise PluginError(f"it offers the same name twice: {', '.join(name for _, name in names)}")
    for kind, entry in offered:
        entries[kind][entry.name] = entry


def _entry_points() -> list[tuple[EntryPoint, Distribution]]:
    """Return the entry points of the group: our own first, then by distribution and name."""
    first: dict[tuple[str, str], tuple[EntryPoint, Distribution]] = {}
    for distribution in distributions():
        points = [point for point in distribution.entry_points if point.group == GROUP]
        if not points:
            continue  # reading the metadata of every distribution would be slow
        owner = (distribution.metadata["Name"] or "unknown").lower()
        for point in points:
            # As for imports, the first copy of a distribution on the path counts.
            first.setdefault((owner, point.name), (point, distribution))
    order = sorted(first, key=lambda key: (key[0] != "rnn-harness", key))
    return [first[key] for key in order]


def _offered(entry_point: EntryPoint) -> list[tuple[str, Any]]:
    """Import one plugin in its own plugin manager, and return its entries as (kind, entry)."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    check_name("plugin", entry_point.name)
    module = entry_point.load()
    manager.register(module, name=entry_point.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PluginError(f"module {entry_point.value!r} implements no hook of the harness")
    offered = [("backend", entry) for entry in _call(manager.hook.harness_backends, Backend)]
    offered += [("task", entry) for entry in _call(manager.hook.harness_tasks, Task)]
    offered += [("cell", entry) for entry in _call(manager.hook.harness_cells, Cell)]
    offered += [("suite", entry) for entry in _call(manager.hook.harness_suites, Suite)]
    offered += [("probe", entry) for entry in _call(manager.hook.harness_probes, Probe)]
    offered += [("published", entry) for entry in _call(manager.hook.harness_published, Published)]
    offered += [("exporter", entry) for entry in _call(manager.hook.harness_exporters, Exporter)]
    for kind, entry in offered:
        check_declaration(kind, entry)
    return offered


def _call(hook: Any, kind: type) -> list[Any]:
    results = hook()
    if len(results) < len(hook.get_hookimpls()):
        raise PluginError(f"{hook.name} must return a list, got None")
    entries = [entry for result in results for entry in result]
    check_entries(hook.name, kind, entries)
    return entries


def _reason(error: BaseException) -> str:
    if isinstance(error, ExitCalledError):
        return f"{error} while it was loaded"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was loaded"
    if isinstance(error, pluggy.PluginValidationError):
        problem = "it declares a hook that the harness does not know, or with another signature"
        return f"{problem}: {error}"
    if isinstance(error, HarnessError):
        return str(error)
    return error_text(error)


def _fix(error: BaseException, distribution: str) -> str:
    upgrade = f"pip install --upgrade {distribution}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install the missing module {error.name!r} ({upgrade})"
    if isinstance(error, pluggy.PluginValidationError):
        names = ", ".join(name for name in vars(hooks) if name.startswith("harness_"))
        return f"use the hooks of harness.contract.hooks: {names}"
    remove = f"pip uninstall {distribution}"
    return f"upgrade it ({upgrade}), remove it ({remove}), or report it to its author"

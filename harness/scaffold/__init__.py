"""``harness new``: writes a small plugin package that installs and passes its conformance tests."""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, get_args

from harness.contract import UsageError
from harness.contract.wording import check_name
from harness.plugins import Plugins, load_plugins
from harness.plugins.declarations import BUILT_IN_FORMATS

Kind = Literal["backend", "task", "cell", "probe", "exporter"]


def create(kind: str, name: str, directory: Path) -> Path:
    """Write a new package of a ``Kind`` into ``directory``; return its folder.

    Raises:
        UsageError: the kind or name is not allowed, the name is in use, or the folder exists and is
            not empty.
    """
    values = _values(kind, name)
    _check_free(kind, name, values["module"], load_plugins())
    package = directory / values["distribution"]
    if package.exists() and (not package.is_dir() or any(package.iterdir())):
        raise UsageError(
            f"{package} exists already and is not an empty folder: "
            "choose another name or --directory"
        )
    try:
        for path, text in rendered(kind, name).items():
            target = package / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        problem = f"cannot write {package}: {error}"
        raise UsageError(f"{problem}. Choose another folder with --directory") from error
    return package


def rendered(kind: str, name: str) -> dict[str, str]:
    """Return the files of the package, path within it -> text.

    Raises:
        UsageError: the kind or name is not allowed.
    """
    values = _values(kind, name)
    module = values["module"]
    templates = files("harness.scaffold") / "templates"
    paths = {
        "pyproject.toml": templates / "pyproject.toml.tmpl",
        "README.md": templates / kind / "README.md.tmpl",
        f"{module}/__init__.py": templates / kind / "module.py.tmpl",
        f"tests/test_{module}.py": templates / kind / "test.py.tmpl",
    }
    return {
        path: Template(template.read_text(encoding="utf-8")).substitute(values)
        for path, template in paths.items()
    }


def _values(kind: str, name: str) -> dict[str, str]:
    if kind not in get_args(Kind):
        raise UsageError(f"unknown kind {kind!r}: use one of {', '.join(get_args(Kind))}")
    identifier = check_name(kind, name).replace("-", "_")
    camel = "".join(part[:1].upper() + part[1:] for part in identifier.split("_"))
    if not (identifier.isidentifier() and name[0].isalpha()):
        raise UsageError(
            f"{kind} name {name!r} is not allowed here: "
            "start with a letter, then letters, digits, '-', '_'"
        )
    return {
        "kind": kind,
        "name": name,
        "module": f"harness_{identifier.lower()}",
        "distribution": f"harness-{identifier.lower().replace('_', '-').strip('-')}",
        "Camel": camel,
        "Class": camel + kind.capitalize(),
    }


def _check_free(kind: str, name: str, module: str, plugins: Plugins) -> None:
    installed = {
        "backend": plugins.backends,
        "task": plugins.tasks,
        "cell": plugins.cells,
        "probe": plugins.probes,
        "exporter": {*plugins.exporters, *BUILT_IN_FORMATS},
    }[kind]
    if name in installed or name in (plugin.name for plugin in plugins.broken):
        raise UsageError(f"{kind} name {name!r} is taken: choose another")
    if importlib.util.find_spec(module) is not None:
        raise UsageError(
            f"{kind} name {name!r} is not free: "
            f"a module {module} is installed already; choose another"
        )

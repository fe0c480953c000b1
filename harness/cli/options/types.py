"""Parses the values of options: comma lists, ranges, durations, ``task.NAME.OPTION=VALUE``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rich_click as click
from click.shell_completion import CompletionItem

from harness.plan.kinds import Memory, Seconds

_RANGE = re.compile(r"(\d+):(\d+):(x|\+)?(\d+)")
_MULTIPLE = re.compile(r"\d*T")
_SETTING = re.compile(r"task\.(?P<task>[A-Za-z0-9._-]+)\.(?P<option>[A-Za-z0-9_-]+)")
MOST_VALUES = 10_000


class Written(click.ParamType[Any]):
    """A type whose name ``--help`` shows as written; click would show ``10m`` as ``10M``."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """Return the name."""
        return self.name


class CommaList(Written):
    """Values separated by commas; the option may be repeated too."""

    def __init__(self, name: str, convert: Callable[[str], Any]) -> None:
        self.name = name
        self._convert = convert

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values of one comma list."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._convert(part.strip()) for part in str(value).split(","))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _or_words(words: Mapping[str, Any], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return ``convert`` extended by these words, in any case; its error names them too."""

    def read(text: str) -> Any:
        if text.lower() in words:
            return words[text.lower()]
        try:
            return convert(text)
        except ValueError as error:
            raise ValueError(f"{error}, or {' or '.join(words)}") from None

    return read


def _integer(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise ValueError("expected whole numbers, separated by commas") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected numbers, separated by commas") from None


def _word(text: str) -> str:
    if not text:
        raise ValueError("an empty name; write names separated by single commas")
    return text


WORDS = CommaList("NAME,...", _word)
SWITCHES = CommaList("true|false,...", _word)
INTEGERS = CommaList("N,...", _integer)
NUMBERS = CommaList("X,...", _number)
NUMBERS_OR_NONE = CommaList("X,...|none", _or_words({"none": None}, _number))
INTEGERS_OR_NONE = CommaList("N,...|none", _or_words({"none": None}, _integer))
CHECKPOINTS = CommaList("off|auto|N,...", _or_words({"off": "off", "auto": "auto"}, _integer))


class Lengths(Written):
    """Lengths: ``25,50,100``, ``32:1024:x2`` (times 2) or ``10:50:10`` (plus 10), inclusive."""

    name = "25,50 | 32:1024:x2"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the lengths of one comma list of numbers and ranges."""
        if isinstance(value, tuple):
            return value
        lengths: list[int] = []
        try:
            for part in str(value).split(","):
                lengths += _lengths(part.strip())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        return tuple(lengths)


class OtherLengths(Written):
    """Lengths as of ``Lengths``, or multiples of the trained length: ``2T,4T``."""

    name = "40,80 | 2T,4T"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the lengths of one comma list as text."""
        if isinstance(value, tuple):
            return value
        lengths: list[str] = []
        try:
            for part in (part.strip() for part in str(value).split(",")):
                is_text = _MULTIPLE.fullmatch(part) or part == "none"
                lengths += [part] if is_text else map(str, _lengths(part))
        except ValueError as error:
            self.fail(f"{value!r}: {error}, or multiples of T such as 2T", param, ctx)
        return tuple(lengths)


class Initialisations(Written):
    """Schemes of initial weights; ``PART=DRAW`` items that follow each other are one scheme."""

    name = "SCHEME,... | PART=DRAW,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the schemes of one comma list."""
        if isinstance(value, tuple):
            return value
        schemes: list[str] = []
        for item in (item.strip() for item in str(value).split(",")):
            if "=" in item and schemes and "=" in schemes[-1]:
                schemes[-1] += f",{item}"
            else:
                schemes.append(item)
        return tuple(schemes)


def _lengths(part: str) -> Sequence[int]:
    match = _RANGE.fullmatch(part.lower())
    if not match and ":" in part:
        raise ValueError("expected whole numbers, or ranges FIRST:LAST:xFACTOR or FIRST:LAST:STEP")
    if not match:
        return [_integer(part)]
    first, last, step = int(match[1]), int(match[2]), int(match[4])
    multiplies = match[3] == "x"
    least_first, least_step = (1, 2) if multiplies else (0, 1)
    if first > last or first < least_first or step < least_step:
        raise ValueError(
            "a range is FIRST:LAST:xFACTOR or FIRST:LAST:STEP with FIRST <= LAST, FACTOR >= 2, "
            "STEP >= 1"
        )
    lengths: list[int] = []
    while first <= last and len(lengths) <= MOST_VALUES:
        lengths.append(first)
        first = first * step if multiplies else first + step
    if len(lengths) > MOST_VALUES:
        raise ValueError(f"a range of more than {MOST_VALUES:,} lengths; take a larger step")
    return lengths


class Quantity(Written):
    """A duration in seconds, or an amount of memory in bytes, as its kind reads it."""

    def __init__(self, kind: Seconds | Memory) -> None:
        self.name = kind.metavar
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return seconds or bytes."""
        try:
            return self._kind.read(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Percentage(Written):
    """A percentage, ``3%`` or ``2.5%``; as a fraction."""

    name = "3%"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the fraction."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", str(value).strip())
        if not match or not float(match[1]) < 100:  # noqa: PLR2004
            self.fail(f"{value!r} is not a percentage from 0% to below 100%; write 3%", param, ctx)
        return float(match[1]) / 100


class Run(click.ParamType[str]):
    """A run of a store: its number, or ``last~1``, counted from the last."""

    name = "RUN"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text if it names a run."""
        from harness_results.store.runs import RUN

        if not RUN.fullmatch(value):
            self.fail(f"{value!r} is not a run: write a number, last or last~1", param, ctx)
        return value


def task_settings(values: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return task -> option -> value of ``task.NAME.OPTION=VALUE`` settings.

    A value that is JSON (a number, true, false, null, a quoted text, a list) is read as JSON. Any
    other value is a text, or a list if it has commas; a text with a comma must be quoted.
    """
    settings: dict[str, dict[str, Any]] = {}
    for text in values:
        key, equals, value = text.partition("=")
        match = _SETTING.fullmatch(key.strip())
        if not equals or not match:
            raise click.BadParameter(f"{text!r}: write task.NAME.OPTION=VALUE", param_hint="--set")
        settings.setdefault(match["task"], {})[match["option"]] = _value(value.strip())
    return settings


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        parts = text.split(",")
        return [_value(part.strip()) for part in parts] if len(parts) > 1 else text
    except RecursionError:
        problem = f"{text[:20]}... is nested too deeply"
        raise click.BadParameter(problem, param_hint="--set") from None
    return text if isinstance(value, dict) else value


class Named(CommaList):
    """Names of backends, tasks or cells, completed in the shell from what is installed."""

    def __init__(self, kind: str) -> None:
        super().__init__("NAME,...", _word)
        self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the installed names that continue the last one of the list."""
        from harness.plugins import load_plugins

        before, comma, last = incomplete.rpartition(",")
        blocked = ctx.find_root().params.get("plugin") or ()
        plugins = load_plugins(word.removeprefix("no:") for word in blocked)
        names = list(getattr(plugins, self._kind))
        if self._kind == "backends":
            names += plugins.groups
        return [CompletionItem(before + comma + name) for name in names if name.startswith(last)]

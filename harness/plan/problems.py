"""Problems of a plan in words: each says where it is, what the value is and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from harness.contract import UnknownNameError
from harness.contract.wording import shortened, text_of

_SHOWN_ERRORS = 20
_LONGEST_VALUE = 200
_QUOTES = '; put it in quotes: "{0}" in a plan, \'"{0}"\' in a shell'


def listed(errors: list[str]) -> str:
    """Return the only problem, or how many there are and the first of them, one a line."""
    if len(errors) == 1:
        return errors[0]
    shown = [f"  - {error}" for error in errors[:_SHOWN_ERRORS]]
    if len(errors) > _SHOWN_ERRORS:
        shown.append(f"  ... and {len(errors) - _SHOWN_ERRORS} more")
    return "\n".join([f"{len(errors)} problems:", *shown])


def validation_lines(
    error: ValidationError, prefix: str = "", names: Sequence[str] = ()
) -> list[str]:
    """Return pydantic's errors as lines.

    Each names the field and the value, and says what is allowed.

    Args:
        error: as pydantic raised it.
        prefix: goes before each field's name.
        names: the fields that exist, for the nearest to an unknown one.
    """
    lines = []
    for item in _joined(error.errors()):
        field = shortened(prefix + ".".join(map(str, item["loc"])), _LONGEST_VALUE)
        problem = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            lines.append(str(UnknownNameError("option", field, [prefix + name for name in names])))
        elif item["loc"]:
            fix = _QUOTES.format(item["input"]) if _is_unquoted(item) else ""
            value = shortened(text_of(item["input"]), _LONGEST_VALUE)
            lines.append(f"{field} = {value}: {problem[0].lower()}{problem[1:]}{fix}")
        else:
            lines.append(problem)
    return lines


def _is_unquoted(item: Any) -> bool:
    """Return whether a number or a truth value came for a text."""
    return item["type"] == "string_type" and isinstance(item["input"], (bool, int, float))


def _joined(errors: Sequence[Any]) -> list[Any]:
    """Return the errors, with those of the branches of one union joined."""
    joined = []
    for (loc, in_branch), group in groupby(errors, lambda item: _location(item["loc"])):
        same = list(group)
        if not in_branch:
            joined += same
            continue
        others = [item["msg"].removeprefix("Input should be ") for item in same[1:]]
        joined.append({**same[0], "loc": loc, "msg": " or ".join([same[0]["msg"], *others])})
    return joined


def _location(loc: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], bool]:
    """Return where an error is, and whether that was inside a branch of a union."""
    in_branch = len(loc) > 1 and str(loc[-1]).startswith(("literal[", "constrained-"))
    return (loc[:-1] if in_branch else loc), in_branch

"""The options of ``harness run``, made from the declarations in ``harness.plan.options``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rich_click as click

from harness.cli.options.types import Quantity
from harness.plan.kinds import Choice, Kind, Memory, Pairs, Seconds, Switch, Text, Whole
from harness.plan.options import OPTIONS, Option


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one option per field of ``RunOptions``; what is not given is None, False or ()."""
    for option in reversed(list(OPTIONS.values())):
        function = _click_option(option)(function)
    return function


def _click_option(option: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flags = [option.flag, *([option.short] if option.short else []), option.name]
    return click.option(*flags, help=option.full_help, **_settings(option.kind))


def _settings(kind: Kind) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    match kind:
        case Switch():
            settings["is_flag"] = True
        case Whole(least, most):
            settings["type"] = click.IntRange(least, most)
        case Choice(words):
            settings["type"] = click.Choice(words)
        case Seconds() | Memory():
            settings["type"] = Quantity(kind)
        case Text(metavar):
            settings["metavar"] = metavar
        case Pairs(metavar):
            settings |= {"multiple": True, "metavar": metavar}
    return settings

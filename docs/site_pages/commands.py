"""The command reference as Markdown, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from harness.cli.main import VERBS, cli, command_of

Named = tuple[str, click.Command]


def reference() -> str:
    """Return every verb with its usage, what it does, and each of its arguments and options."""
    return "\n".join(line for name, command in commands() for line in _chapter(name, command))


def commands() -> Iterator[Named]:
    """Yield the whole command's name and command: the group, each verb, and the verbs of a verb."""
    yield "harness", cli
    for verb in VERBS:
        yield from _with_verbs(f"harness {verb}", command_of(verb))


def _with_verbs(name: str, command: click.Command) -> Iterator[Named]:
    yield name, command
    if isinstance(command, click.Group):
        for verb, below in command.commands.items():
            yield from _with_verbs(f"{name} {verb}", below)


def _chapter(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield f"{'##' if name.count(' ') < 2 else '###'} `{name}`\n"  # noqa: PLR2004
    yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield f"{_prose(command.help or '')}\n"
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    parameters = command.get_params(context)
    options = [each for each in parameters if isinstance(each, click.Option) and not each.hidden]
    options = [option for option in options if "--help" not in option.opts]
    if options:
        yield "| option | meaning |\n|---|---|"
        yield from (
            f"| {_flags(option, context)} | {_cell(option, context)} |" for option in options
        )
        yield ""


def _flags(option: click.Option, context: click.Context) -> str:
    """Return ``--jobs``, ``-j`` and what it takes."""
    flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag else option.make_metavar(context)
    return f"{flags} `{_bar(takes)}`" if takes else flags


def _cell(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return _bar(_prose(record[1] if record else "").replace("\n", " "))


def _prose(text: str) -> str:
    """Return the help as Markdown: one line per paragraph, special characters escaped."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text.replace("\b", "")))
    return "\n\n".join(re.sub(r"(?<!`)([*<>_\[\]])(?!`)", r"\\\1", part) for part in paragraphs)


def _bar(text: str) -> str:
    return text.replace("|", r"\|")

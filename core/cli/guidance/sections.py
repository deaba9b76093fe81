"""The help of commands with many options: listed under headings, with examples below."""

from __future__ import annotations

from typing import Any

import click

from ..output import Decorator, options

OTHERS = "Options"
"""Heading of the options that name none."""


class SectionedCommand(click.Command):
    """A command whose help lists each option under the heading of its ``section``."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading, in the order in which options name them."""
        for title, records in records_by_section(self, ctx).items():
            with formatter.section(title):
                formatter.write_dl(records)


def section(title: str, *decorators: Decorator) -> Decorator:
    """Return a decorator that adds options, see ``output.options``, which the help lists under a heading."""

    def add(command: Any) -> Any:  # noqa: ANN401 - a function, as click has it
        there = {id(parameter) for parameter in _parameters(command)}
        command = options(*decorators)(command)
        for parameter in _parameters(command):
            if id(parameter) not in there and not hasattr(parameter, "section"):
                parameter.section = title  # type: ignore[attr-defined]
        return command

    return add


def records_by_section(command: click.Command, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return what the help says of each option, by heading."""
    found: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and not isinstance(parameter, click.Argument):  # those have a section of their own
            found.setdefault(getattr(parameter, "section", OTHERS), []).append(record)
    others = found.pop(OTHERS, [])
    return found | {OTHERS: others}


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands as one would type them, each on its line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _parameters(command: Any) -> list[click.Parameter]:  # noqa: ANN401 - a function, as click has it
    found: list[click.Parameter] = getattr(command, "__click_params__", [])
    return found

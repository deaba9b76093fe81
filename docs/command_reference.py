"""The page about every command, generated from the commands themselves: `make docs` writes it to docs/cli.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import click

from decodebench.core.cli.guidance.sections import OTHERS, records_by_section
from decodebench.core.cli.main import cli

_HEAD = """# Command line

Generated from the commands by `make docs`; do not edit. `decodebench COMMAND --help` prints the same. The
[config file](config_file.md) and `DECODEBENCH_*` variables change defaults.
"""


def markdown() -> str:
    """Return the page."""
    root = click.Context(cli, info_name="decodebench", **cli.context_settings)
    lines = [_HEAD, *_section(root, "decodebench", level=2)]
    for name in cli.list_commands(root):
        lines += _command(root, name, level=2)
    return "\n".join(lines)


def _command(parent: click.Context, name: str, level: int) -> Iterator[str]:
    """Yield a command's section, then those of its sub-commands."""
    assert isinstance(parent.command, click.Group)
    command = parent.command.get_command(parent, name)
    assert command is not None, name
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield from _section(context, name if level == 2 else f"{parent.info_name} {name}", level)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _command(context, below, level + 1)


def _section(context: click.Context, title: str, level: int) -> Iterator[str]:
    """Yield heading, usage, purpose and options of one command."""
    command = context.command
    yield f"{'#' * level} {title}\n"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield from (f"{_prose(paragraph)}\n" for paragraph in (command.help or "").split("\f")[0].split("\n\n"))
    arguments = [one.get_help_record(context) for one in command.params if isinstance(one, click.Argument)]
    yield from _table("argument", [record for record in arguments if record[1]])
    for title, records in records_by_section(command, context).items():
        rows = [record for record in records if not record[0].startswith("-h,")]
        yield from _table("option" if title == OTHERS else title, rows)
    if command.epilog:
        yield f"```text\n{command.epilog.replace(chr(8), '').strip()}\n```\n"


def _table(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    """Yield what is said of each argument or option; nothing where there is none."""
    if rows:
        yield f"| {title} | |"
        yield "| --- | --- |"
        yield from (f"| `{_cell(name)}` | {_cell(_prose(about))} |" for name, about in rows)
        yield ""


def _prose(text: str) -> str:
    """Return a text in one line; signs that Markdown would take as its own are escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.replace("\b", "").split()))
    return "".join(part if part.startswith("`") else re.sub(r"([<*_])", r"\\\1", part) for part in parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())

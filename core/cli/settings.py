"""Where settings come from: flags, the plan, DECODEBENCH_* variables, the user's config file, built-in defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from ..errors import UsageError, unknown_name
from ..host.user_files import config_file, read_config
from ..isolation import assignments as interpreters

VARIABLE_PREFIX = "DECODEBENCH"

SOURCES = {
    click.core.ParameterSource.COMMANDLINE: "flag",
    click.core.ParameterSource.ENVIRONMENT: "environment variable",
    click.core.ParameterSource.DEFAULT_MAP: "config file",
    click.core.ParameterSource.DEFAULT: "built-in default",
}


def defaults_from_config(commands: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """Read the user's config file: a table per command, whose keys are the long flags without dashes in front.

    A table that is called like a plugin belongs to that plugin, which reads it itself.

    Raises:
        UsageError: it is not TOML, or names a command that does not exist.
    """
    content, file = read_config(), config_file()
    if not content:
        return {}
    known = set(commands())
    for name, table in content.items():
        if name not in known and _is_of_plugin(name):
            continue
        if name not in known or not isinstance(table, dict):
            raise UsageError(f"{file}: {unknown_name('table', name, known)}", code="unknown-name")
    return {name: _flags(name, table) for name, table in content.items() if name in known}


def _is_of_plugin(name: str) -> bool:
    from ..host.sources import installed_names

    return name in installed_names()


def _flags(command: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's flags by parameter.

    Two tables hold more than flags: ``[backends.NAME]``, see ``interpreters``, and ``files`` of ``[plugins]``.
    """
    return {
        key.replace("-", "_"): value
        for key, value in table.items()
        if not (command == interpreters.TABLE and isinstance(value, dict)) and (command, key) != ("plugins", "files")
    }


def check_config(ctx: click.Context) -> None:
    """Refuse keys of the config file that the command at hand does not have."""
    known = {parameter.name for parameter in ctx.command.params if parameter.name}
    for key in ctx.default_map or {}:
        if key not in known:
            raise UsageError(
                f"{config_file()}: {unknown_name(f'key of [{ctx.info_name}]', key, known)}", code="unknown-name"
            )


def is_given(ctx: click.Context, parameter: str) -> bool:
    """Whether the user gave ``parameter`` as a flag; everything else yields to the plan."""
    return ctx.get_parameter_source(parameter) is click.core.ParameterSource.COMMANDLINE


def is_set(ctx: click.Context, parameter: str) -> bool:
    """Whether ``parameter`` comes from anywhere but the built-in default."""
    return ctx.get_parameter_source(parameter) is not click.core.ParameterSource.DEFAULT

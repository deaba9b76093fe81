"""Where settings come from: flags, the plan, DECODEBENCH_* variables, the user's config file, built-in defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError, unknown_name

VARIABLE_PREFIX = "DECODEBENCH"

SOURCES = {
    click.core.ParameterSource.COMMANDLINE: "flag",
    click.core.ParameterSource.ENVIRONMENT: "environment variable",
    click.core.ParameterSource.DEFAULT_MAP: "config file",
    click.core.ParameterSource.DEFAULT: "built-in default",
}


def config_file() -> Path:
    """Return the user's config file: ``DECODEBENCH_CONFIG``, or ``config.toml`` in the user's config folder."""
    override = os.environ.get("DECODEBENCH_CONFIG")
    if override:
        return Path(override)
    from platformdirs import user_config_path

    return user_config_path("decodebench", appauthor=False) / "config.toml"


def defaults_from_config(commands: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """Read the user's config file: a table per command, whose keys are the long flags without dashes in front.

    Raises:
        UsageError: it is not TOML, or names a command that does not exist.
    """
    file = config_file()
    if not file.is_file():
        return {}
    import tomllib

    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: {error}") from error
    known = set(commands())
    for name, table in content.items():
        if name not in known or not isinstance(table, dict):
            raise UsageError(f"{file}: {unknown_name('table', name, known)}")
    return {name: {key.replace("-", "_"): value for key, value in table.items()} for name, table in content.items()}


def check_config(ctx: click.Context) -> None:
    """Refuse keys of the config file that the command at hand does not have."""
    known = {parameter.name for parameter in ctx.command.params if parameter.name}
    for key in ctx.default_map or {}:
        if key not in known:
            raise UsageError(f"{config_file()}: {unknown_name(f'key of [{ctx.info_name}]', key, known)}")


def is_given(ctx: click.Context, parameter: str) -> bool:
    """Whether the user gave ``parameter`` as a flag; everything else yields to the plan."""
    return ctx.get_parameter_source(parameter) is click.core.ParameterSource.COMMANDLINE


def is_set(ctx: click.Context, parameter: str) -> bool:
    """Whether ``parameter`` comes from anywhere but the built-in default."""
    return ctx.get_parameter_source(parameter) is not click.core.ParameterSource.DEFAULT

"""Where settings come from: flags, the plan, DECODEBENCH_* variables, the user's config file, built-in defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time
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


def defaults_from_config(ctx: click.Context) -> dict[str, Any]:
    """Read the user's config file: a table per command, whose keys are the long flags without dashes in front.

    A table that is called like a plugin belongs to that plugin, which reads it itself.

    Args:
        ctx: of the group of all commands; the table of the one that is called is checked as a whole.

    Raises:
        UsageError: the file is not TOML, names a command that does not exist, or a flag that this command does not
            have, or has a value that the flag does not take.
    """
    content, file, group = read_config(), config_file(), ctx.command
    if not content or not isinstance(group, click.Group):
        return {}
    known = set(group.list_commands(ctx))
    for name, table in content.items():
        if name not in known and not _is_of_plugin(name):
            raise UsageError(f"{file}: {unknown_name('table', name, known)}", code="unknown-name")
        if name in known and not isinstance(table, dict):
            raise UsageError(f"{file}: {name!r} must be one table: write [{name}]", code="bad-value")
    tables = {name: table for name, table in content.items() if name in known}
    called = ctx.invoked_subcommand
    command = group.get_command(ctx, called) if called in tables else None
    if called in tables and command is not None:
        tables[called] = _checked(command, [called], tables[called])
    return tables


def _is_of_plugin(name: str) -> bool:
    from ..host.sources import installed_names

    return name in installed_names()


def _checked(command: click.Command, path: list[str], table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's flags by parameter; a table within that of a group is that of its sub-command.

    Two tables hold more than flags: ``[backends.NAME]``, see ``interpreters``, and ``files`` of ``[plugins]``.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        own, name = [*path, key], key.replace("-", "_")
        if is_other_setting(own) or (path == [interpreters.TABLE] and isinstance(value, dict)):
            continue
        inner = command.get_command(click.Context(command), key) if isinstance(command, click.Group) else None
        if inner is not None and isinstance(value, dict):
            found[key] = _checked(inner, own, value)
            continue
        if name in found:
            raise UsageError(f"{config_file()}: [{'.'.join(path)}] has {key!r} twice, with - and _", code="bad-value")
        try:
            found[name] = check_flag(command, own, value)
        except UsageError as error:
            raise UsageError(f"{config_file()}: {error}", code=error.code, **error.fields) from error
    return found


def is_other_setting(path: Sequence[str]) -> bool:
    """Whether a key of a command's table is no flag of that command."""
    return tuple(path) == ("plugins", "files") or (path[0] == interpreters.TABLE and len(path) > 2)


def check_other_setting(path: Sequence[str], value: object) -> object:
    """Return the value of such a key as the file is to have it; raises ``UsageError`` where it takes no such value."""
    if path[0] == interpreters.TABLE:
        if path[2:] != ["python"]:
            raise unknown_name(f"key of [{'.'.join(path[:2])}]", ".".join(path[2:]), ["python"])
        if not isinstance(value, str) or not value:
            raise UsageError(f"config key {'.'.join(path)}: must be the path of an interpreter", code="bad-value")
        return value
    files = value if isinstance(value, list) else [value]
    if not all(isinstance(file, str) and file for file in files):
        raise UsageError(f"config key {'.'.join(path)}: must be a list of paths of Python files", code="bad-value")
    return files


def check_flag(command: click.Command, path: Sequence[str], value: object) -> object:
    """Return the value of a flag as the file is to have it: one that may be repeated takes a list.

    Raises:
        UsageError: the command has no such flag, or it takes no such value: numbers are not rounded, and true is none.
    """
    flags = {(parameter.name or "").replace("_", "-"): parameter for parameter in command.params}
    name = path[-1].replace("_", "-")
    if name not in flags:
        raise unknown_name(f"key of [{'.'.join(path[:-1])}]", path[-1], flags)
    flag = flags[name]
    is_list = flag.nargs != 1 or getattr(flag, "multiple", False)
    values = value if is_list and isinstance(value, list) else [value]
    try:
        for one in values:
            _check_kind(flag, one)
        made = values if is_list else value
        flag.type_cast_value(click.Context(command, info_name=path[-2]), made)
    except (click.BadParameter, ValueError, TypeError, OverflowError) as error:
        text = error.message if isinstance(error, click.BadParameter) else error
        raise UsageError(f"config key {'.'.join(path)} = {value!r}: {text}", code="bad-value") from error
    return made


def _check_kind(flag: click.Parameter, value: object) -> None:
    """Refuse a value of another kind than the flag's: click would make whole numbers of 3.5 and of true."""
    is_switch = isinstance(flag.type, click.types.BoolParamType)
    if not isinstance(value, str | int | float | date | time):
        raise ValueError("must be a single value")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    if isinstance(value, float) and isinstance(flag.type, click.types.IntParamType):
        raise ValueError("must be an integer")
    if isinstance(value, bool) != is_switch and not isinstance(value, str):
        raise ValueError("must be true or false" if is_switch else "takes neither true nor false")


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

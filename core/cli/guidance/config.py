"""``config``: where the user's config file is, what it says, and changing one value of it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

import click

from ...errors import UsageError, unknown_name
from ...files import write_whole
from ...host.user_files import config_file, read_config
from ..output import CONTEXT, echo, json_option, print_json
from ..settings import check_flag, check_other_setting, is_other_setting
from .sections import examples
from .toml_edit import key_text, literal, read_key, set_in


@click.group(
    context_settings=CONTEXT,
    epilog=examples("decodebench config set run.rounds 10", "decodebench config get run.rounds"),
)
def config() -> None:
    """Show or change the user's config file.

    KEY is a table and a name, joined by a dot: run.rounds, servers.vllm.url.
    """


@config.command(context_settings=CONTEXT)
def path() -> None:
    """Print the path of the config file, whether it exists or not."""
    echo(config_file())


@config.command(context_settings=CONTEXT)
@click.argument("key", required=False)
@json_option
def get(key: str | None, as_json: bool) -> None:
    """Print the value of KEY; without KEY, the whole file."""
    content = read_config()
    found = dict(_flat(content))
    if key is None:
        chosen: object = content
        lines = [f"{name} = {literal(value)}" for name, value in found.items()]
    else:
        chosen = _value_of(content, _as_spelled(content, read_key(key) or key.split(".")))
        if chosen is None:
            raise unknown_name(f"key in {config_file()}", key, found)
        lines = [literal(chosen)] if not isinstance(chosen, dict) else [f"{k} = {literal(v)}" for k, v in _flat(chosen)]
    if as_json:
        print_json(chosen)
        return
    for line in lines:
        echo(line)


@config.command("set", context_settings=CONTEXT)
@click.argument("key")
@click.argument("value")
@click.pass_context
def set_value(ctx: click.Context, key: str, value: str) -> None:
    """Set KEY to VALUE, in TOML or as a bare word.

    The rest of the file stays as it is, comments included.
    """
    path = read_key(key) or key.split(".")
    if len(path) < 2 or not all(path):
        raise UsageError(f"config key {key!r}: write TABLE.NAME, such as run.rounds", code="bad-value")
    parsed = _checked(ctx, path, _parsed(key, value))
    content, file = read_config(), config_file()  # a file that is no TOML is not written to
    path = _as_spelled(content, path)
    text = file.read_bytes().decode() if file.is_file() else ""  # line ends as they are
    changed = set_in(text, path, parsed)
    if changed is None:
        where = f"[{key_text(path[:-1])}]"
        raise UsageError(
            f"{file}: {key} is written in a form that cannot be changed here; write it by hand, in {where}:\n"
            f"{key_text(path[-1:])} = {literal(parsed)}",
            code="file-unreadable",
        )
    write_whole(file, changed)
    echo(f"{key_text(path)} = {literal(parsed)} in {file}", err=True)


def _checked(ctx: click.Context, path: Sequence[str], value: object) -> object:
    """Return a value as the file is to have it; what belongs to a plugin it checks itself.

    Raises:
        UsageError: there is no such command or flag, or it takes no such value.
    """
    root = ctx.find_root()
    group = root.command
    known = group.list_commands(root) if isinstance(group, click.Group) else []
    if path[0] not in known:
        from ...host.sources import installed_names

        if path[0] not in installed_names():  # a plugin's table has the name of its entry point
            raise unknown_name("config table", path[0], known)
        return value
    if is_other_setting(path):
        return check_other_setting(path, value)
    command = group
    for at, name in enumerate(path[:-1]):
        found = command.get_command(root, name) if isinstance(command, click.Group) else None
        if found is None:
            raise UsageError(
                f"config key {key_text(path)}: {key_text(path[:at])} has no table {name!r}", code="bad-value"
            )
        command = found
    return check_flag(command, path, value)


def _as_spelled(content: Any, path: Sequence[str]) -> list[str]:  # noqa: ANN401 - any TOML value
    """Return a path with each part as the file spells it: `wait_idle` is `wait-idle`."""
    found: list[str] = []
    for name in path:
        table = content if isinstance(content, dict) else {}
        alike = (one for one in table if one.replace("_", "-") == name.replace("_", "-"))
        found.append(name if name in table else next(alike, name))
        content = table.get(found[-1])
    return found


def _parsed(key: str, text: str) -> object:
    """Read a value as TOML has it, else as a bare word."""
    try:
        text.encode()
        found = tomllib.loads(f"value = {text}")
    except UnicodeEncodeError as error:
        raise UsageError(f"config key {key}: {text!a} is no UTF-8", code="bad-value") from error
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def _value_of(content: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - any TOML value
    for part in path:
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _flat(content: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Return every value with its key, tables within tables taken apart."""
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        key = f"{before}{key_text([name])}"
        found += _flat(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return found

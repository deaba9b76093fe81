"""``config``: where the user's config file is, what it says, and changing one value of it."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import click

from ...errors import UsageError, unknown_name
from ...files import write_whole
from ...host.user_files import config_file, read_config
from ..output import CONTEXT, echo, json_option, print_json
from .sections import examples

_TABLE = re.compile(r"^\s*\[(.+)\]\s*(#.*)?$")


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
        lines = [f"{name} = {_toml(value)}" for name, value in found.items()]
    else:
        chosen = _value_of(content, key)
        if chosen is None:
            raise unknown_name(f"key in {config_file()}:", key, found)
        lines = [_toml(chosen)] if not isinstance(chosen, dict) else [f"{k} = {_toml(v)}" for k, v in _flat(chosen)]
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
    *tables, name = key.split(".")
    if not tables or not all((*tables, name)):
        raise UsageError(f"config key {key!r}: write TABLE.NAME, such as run.rounds", code="bad-value")
    parsed = _parsed(value)
    _check(ctx, tables, name, parsed)
    read_config()  # a file that is no TOML is not written to
    file = config_file()
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    changed = _with(text, ".".join(map(_bare, tables)), _bare(name), _toml(parsed))
    if _value_of(tomllib.loads(changed), key) != parsed:
        raise UsageError(
            f"{file}: {key} is written in a form that cannot be changed here; edit the file", code="file-unreadable"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, changed)
    echo(f"{key} = {_toml(parsed)} in {file}", err=True)


def _check(ctx: click.Context, tables: list[str], name: str, value: object) -> None:
    """Refuse a command, a flag or a value that there is not; what belongs to a plugin it checks itself."""
    root = ctx.find_root()
    group = root.command
    known = group.list_commands(root) if isinstance(group, click.Group) else []
    command = group.get_command(root, tables[0]) if tables[0] in known and isinstance(group, click.Group) else None
    if command is None:
        from ...host.sources import installed_names

        if tables[0] not in installed_names():  # a plugin's table has the name of its entry point
            raise unknown_name("config table", tables[0], known)
        return
    if len(tables) > 1:
        return  # such as [backends.NAME]
    flags = {(parameter.name or "").replace("_", "-"): parameter for parameter in command.params}
    if name.replace("_", "-") not in flags:
        raise unknown_name(f"key of [{tables[0]}]", name, flags)
    try:
        flags[name.replace("_", "-")].type_cast_value(click.Context(command, info_name=tables[0]), value)
    except click.BadParameter as error:
        raise UsageError(
            f"config key {tables[0]}.{name} = {_toml(value)}: {error.message}", code="bad-value"
        ) from error


def _with(text: str, table: str, name: str, value: str) -> str:
    """Return a TOML text with one line more, or one replaced, in a table that is made where it is not there."""
    lines = text.splitlines()
    heads = {match[1].strip(): at for at, line in enumerate(lines) if (match := _TABLE.match(line))}
    if table not in heads:
        return "\n".join([*lines, *([""] if lines else []), f"[{table}]", f"{name} = {value}", ""])
    begin = heads[table] + 1
    end = min((at for at in heads.values() if at >= begin), default=len(lines))
    of_name = re.compile(rf"^\s*{re.escape(name)}\s*=")
    place = next((at for at in range(begin, end) if of_name.match(lines[at])), None)
    lines[begin if place is None else place : begin if place is None else place + 1] = [f"{name} = {value}"]
    return "\n".join([*lines, ""])


def _parsed(text: str) -> Any:  # noqa: ANN401 - any TOML value
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _value_of(content: Any, key: str) -> Any:  # noqa: ANN401 - any TOML value
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _flat(content: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Return every value with its key, tables within tables taken apart."""
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        key = f"{before}{name}"
        found += _flat(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return found


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:  # noqa: ANN401 - any TOML value
    """Return a value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            import json

            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_bare(name)} = {_toml(one)}' for name, one in value.items())} }}"
        case _:
            return str(value)

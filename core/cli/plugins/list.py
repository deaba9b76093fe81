"""``plugins list``: every plugin in a line, the skipped ones with the reason."""

from __future__ import annotations

import click

from ...api.plugins import installed_plugins
from ...host.registry import PluginRecord
from ..output import CONTEXT, json_option, print_json, print_table

_COLUMNS = (
    "plugin",
    "distribution",
    "version",
    "API",
    "hooks",
    "backends",
    "status",
    "reason, or names that were taken",
)


@click.command("list", context_settings=CONTEXT)
@json_option
def list(as_json: bool) -> None:  # the name of the sub-command
    """List plugins; for those that are not loaded, the reason."""
    show_all(as_json=as_json)


def show_all(*, as_json: bool) -> None:
    """Print the list."""
    found = installed_plugins().plugins
    if as_json:
        print_json([plugin.model_dump(mode="json") for plugin in found])
        return
    print_table(_COLUMNS, [_row(plugin) for plugin in found], empty="no plugin")


def _row(plugin: PluginRecord) -> tuple[str, ...]:
    return (
        plugin.name,
        plugin.distribution or (plugin.file.name if plugin.file else ""),
        plugin.version or "",
        plugin.api or "any",
        " ".join(hook.removeprefix("decodebench_") for hook in plugin.hooks),
        " ".join(plugin.provides.get("decodebench_backends", ())),
        plugin.status,
        plugin.reason or "\n".join((*plugin.clashes, *plugin.notices)),
    )

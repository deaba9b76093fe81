"""``plugins show``: one plugin whole."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ...api.plugins import installed_plugins
from ...errors import unknown_name
from ...host.availability import availability
from ...host.registry import PluginRecord, Registry
from ..guidance.completion import complete
from ..output import CONTEXT, json_option, print_json, print_table


@click.command(context_settings=CONTEXT)
@click.argument("name", shell_complete=complete("plugins"))
@json_option
def show(name: str, as_json: bool) -> None:
    """Show everything about one plugin: what it provides, where it comes from, what is wrong with it.

    NAME is a plugin's name, distribution:name, or a distribution with one plugin.
    """
    registry = installed_plugins()
    plugin = find(registry, name)
    if as_json:
        print_json(plugin.model_dump(mode="json") | {"revision": plugin.revision})
        return
    print_table(["", name], list(_rows(registry, plugin)), empty="")


def find(registry: Registry, name: str) -> PluginRecord:
    """Return the plugin called ``name``.

    Raises:
        UsageError: there is none, or the distribution has several.
    """
    plugins = registry.plugins
    for matches in (
        [plugin for plugin in plugins if name in (plugin.name, plugin.address)],
        [plugin for plugin in plugins if name == plugin.distribution],
    ):
        if len(matches) == 1:
            return matches[0]
    raise unknown_name("plugin", name, [plugin.name for plugin in plugins])


def _rows(registry: Registry, plugin: PluginRecord) -> Iterator[tuple[str, str]]:
    yield "status", plugin.status
    if plugin.reason:
        yield "reason", plugin.reason
    for clash in plugin.clashes:
        yield "name taken", clash
    for notice in plugin.notices:
        yield "deprecated", notice
    yield "address", plugin.address
    yield "provided by", plugin.origin or "?"
    if plugin.revision:
        yield "revision", plugin.revision
    yield "module", plugin.module
    if plugin.python:
        yield "interpreter", str(plugin.python)
    yield "plugin API", plugin.api or "any"
    for hook, names in plugin.provides.items():
        yield hook, "\n".join(names)
    for name in plugin.provides.get("decodebench_backends", ()):
        found = availability(registry.backends[name])
        version = "" if found.version is None else f", version {found.version}"
        words = f"available{version}" if found.available else f"missing: {found.reason}"
        yield f"backend {name}", words + (f"\n{found.fix}" if found.fix else "")

"""The plugins of this process, looked for once, whichever command or option asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..host.registry import Registry


def installed_plugins() -> Registry:
    """Return everything that plugins provide; the same each time within one command."""
    root = click.get_current_context().find_root()
    if root.obj is None:
        from ..isolation.plugins import all_plugins

        root.obj = all_plugins()
    found: Registry = root.obj
    return found

"""The plugins of this process, found once, whoever asks first."""

from __future__ import annotations

from functools import cache

from ..host.registry import Registry
from ..host.user_files import user_table as user_table
from ..isolation.plugins import all_plugins


@cache
def installed_plugins() -> Registry:
    """Return everything that plugins provide; the same registry each time, which loads a plugin when it is needed."""
    return all_plugins()

"""Names of hosts and users kept out of what is sent around: the page and the slides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from ..core.foreign_text import without_home_folders
from ..core.records.schema import Record
from ..core.records.store import Store

T = TypeVar("T")
R = TypeVar("R", bound=Record)

_KEPT = frozenset({"cell_id", "run_id"})  # by which parts of a page find each other
_ADDRESS = re.compile(r"://(?:[^/@\s]*@)?([^/:?#\s\[\]]+)")
_SHORT = 3  # a name of fewer letters is hidden where labels have it: anywhere else it may be a word
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})


class Names:
    """What an experiment calls its hosts, and what a reader sees instead: ``host-1``, ``host-2``, in order of names.

    Attributes:
        hosts: by the name of a host the one that is shown.
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self.hosts = {name: f"host-{number}" for number, name in enumerate(sorted(set(hosts)), 1)}
        longest_first = sorted(filter(None, self.hosts), key=len, reverse=True)
        either = "|".join(("" if len(name) >= _SHORT else "(?<=on )") + re.escape(name) for name in longest_first)
        self._seen: dict[str, str] = {}  # rows of a query repeat most of their texts
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])") if either else None

    @classmethod
    def of(cls, store: Store, experiment: str) -> Names:
        """Collect the names of hosts that ran an experiment, and of the servers in its options."""
        sql = "SELECT DISTINCT hostname, CAST(options AS VARCHAR) AS options FROM runs WHERE experiment = ?"
        found: set[str] = set()
        for hostname, options in store.query(sql, [experiment])[1]:
            found |= {hostname} if hostname else set()
            found |= set(_servers(json.loads(options or "{}")))
        return cls(found)

    def hide(self, value: T) -> T:
        """Return JSON, or rows of a query, in which no text names a host or a user's home folder."""
        return cast("T", self._hidden(value))

    def hide_record(self, record: R) -> R:
        """Return a record likewise."""
        return type(record).model_validate(self._hidden(record.model_dump()))

    def _hidden(self, value: object) -> object:
        if isinstance(value, str):
            return self._seen.get(value) or self._seen.setdefault(value, self._text(value))
        if isinstance(value, Mapping):
            return {
                self._hidden(name): one if name in _KEPT else self._hidden(one)
                for name, one in value.items()
                if name != "username"
            }
        if isinstance(value, list | tuple):
            return type(value)(self._hidden(one) for one in value if not _is_user(one))
        return value

    def _text(self, text: str) -> str:
        if text in self.hosts:
            return self.hosts[text]
        text = without_home_folders(text)
        return self._pattern.sub(lambda found: self.hosts[found[0]], text) if self._pattern else text


def _is_user(value: object) -> bool:
    """Whether a value is a fact of an environment that names a user."""
    return isinstance(value, Mapping) and value.get("name") == "username"


def _servers(options: Mapping[str, Any]) -> Iterable[str]:
    """Yield the hosts of addresses in a cell's options, this machine itself left out."""
    for value in options.values():
        if isinstance(value, str) and (found := _ADDRESS.search(value)) and found[1] not in _LOCAL:
            yield found[1]

"""What does not leave the machine: secrets in any case, names of hosts, users and their folders unless asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ...foreign_text import without_home_folders
from ...measure.machine.environment import hide as hash_of
from ...sdk.secrets import REMOVED, hide

_VARIABLE = re.compile("KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 8  # characters of a variable that is taken for a secret: shorter ones occur by chance
_ASKED = ("sample", "step", "score")
_HIDDEN = re.compile("[0-9a-f]{8}")


class Cleaner:
    """Cleans the lines of raw logs.

    Args:
        anonymise: replace names of hosts and users, and home folders, too.

    Attributes:
        secrets: how many texts were replaced since they looked like a secret.
        hosts: hashes of the names of the hosts seen.
    """

    def __init__(self, *, anonymise: bool) -> None:
        self.secrets = 0
        self.hosts: set[str] = set()
        self._anonymise = anonymise
        self._names: dict[str, str] = {}  # of host and user, as the log at hand has them, by its field
        own = {value for name, value in os.environ.items() if _VARIABLE.search(name) and len(value) >= _SHORTEST}
        self._own = re.compile("|".join(map(re.escape, sorted(own, key=len, reverse=True)))) if own else None

    def line(self, raw: bytes) -> bytes:
        """Return a line of a log without what is to stay here; one without any as it is, to the byte.

        What a model was asked and answered is searched for secrets alone: a user's name may be a word in it.
        """
        content = json.loads(raw)
        kind = content.get("type")
        if kind == "run":
            self._names = self._names_of(content)
        is_prose = kind in _ASKED
        cleaned = self._cleaned(hide(content, self._count, is_prose=is_prose), is_asked=is_prose)
        if cleaned == content:
            return raw
        return json.dumps(cleaned, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    def _count(self, _: str) -> None:
        self.secrets += 1

    def see(self, hostname: str | None) -> None:
        """Remember the hash of a host's name."""
        if hostname:
            self.hosts.add(hidden(hostname))

    def _names_of(self, content: Mapping[str, Any]) -> dict[str, str]:
        """Return what a run's line calls host and user, by field."""
        machine = content.get("environment")
        machine = machine if isinstance(machine, dict) else {}
        return {key: name for key in ("hostname", "username") if isinstance(name := machine.get(key), str) and name}

    def _cleaned(self, value: Any, *, is_asked: bool, key: str = "") -> Any:  # noqa: ANN401 - any JSON
        if isinstance(value, str):
            return self._text(value, is_asked=is_asked, key=key)
        if isinstance(value, list):
            return [self._cleaned(one, is_asked=is_asked, key=key) for one in value]
        if isinstance(value, dict):
            return {name: self._cleaned(one, is_asked=is_asked, key=name) for name, one in value.items()}
        return value

    def _text(self, text: str, *, is_asked: bool, key: str) -> str:
        """Clean a text; one that a model was asked or answered is searched for secrets alone."""
        if self._own is not None:
            text, count = self._own.subn(REMOVED, text)
            self.secrets += count
        if is_asked or not self._anonymise:
            return text
        if key in self._names:
            return hidden(text)
        text, host = without_home_folders(text), self._names.get("hostname")
        return re.sub(rf"\b{re.escape(host)}\b", hidden(host), text) if host else text


def hidden(name: str) -> str:
    """Return the hash of a name; one that is such a hash already, as of an anonymised run, stays."""
    return name if _HIDDEN.fullmatch(name) else hash_of(name)

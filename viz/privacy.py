"""Names of hosts, users and their folders kept out of what is sent around: page, slides and log entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, cast, get_origin

from ..core.foreign_text import without_home_folders
from ..core.records.schema import Record
from ..core.records.store import Store

T = TypeVar("T")
R = TypeVar("R", bound=Record)

_KEPT = frozenset({"cell_id", "run_id", "metric", "compared_metric", "check"})  # names that are looked up
_SHORT = 3  # a name of fewer letters is hidden where it can be nothing else: anywhere else it may be a word
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "localhost.localdomain"})
_ACCOUNTS = frozenset(
    "admin administrator app container debian docker ec2-user guest jovyan nobody root runner test ubuntu unknown user "
    "users vscode".split()
)
"""Users that many machines have: they name nobody, and some are words of any text."""

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_URL = re.compile(rf"://(?:[^/@\s]*@)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>{_NAME}))")
_HOST_PORT = re.compile(
    rf"(?<![\w.:/-])(?:[^\s/@:,;]+@)?(?P<name>(?=[\d.]*\.|[\w.-]*[A-Za-z]){_NAME}):\d{{2,5}}(?![\w.:])"
)
_FOUR = re.compile(r"(?<![\w.-])(?P<name>\d{1,3}(?:\.\d{1,3}){3})(?![\w.-])")
_HOST_OPTION = re.compile(r"(?:^|[_.-])(?:host|hostname|server|address|addr|node|endpoint)s?$", re.IGNORECASE)
_DEVICES = frozenset({"cpu", "cuda", "gpu", "metal", "rocm", "hip", "vulkan", "xpu"})  # cuda:10 is no address
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")

_PART = r"[^/\s\"'`,;:()<>|]+"
_PATH = re.compile(
    rf"(?<![\w/.~:\\-])/(?:{_PART}/)+|(?<![\w/])[A-Za-z]:\\+(?:[^\\\s\"'`,;]+\\+)+|\\\\(?:[^\\\s\"'`,;]+\\+)+"
)
_OF_USERS = re.compile(rf"(?<![\w/.~:\\-])/(?:home|Users|users|scratch)/{_PART}(?=[\s\"'`,;:()]|$)")
_SYSTEM = re.compile(r"/(?:usr|opt|bin|sbin|lib\w*|etc|proc|sys|dev|nix|snap|Applications|Library|System|folder-\d+)/")


class Names:
    """What an experiment calls hosts, users and folders, and what a reader sees instead.

    Hosts become ``host-1``, ``host-2``, users ``user-1``, folders ``/folder-1``, in order of their names; home folders
    become ``~``. Folders of the system and accounts that any machine has stay.

    Args:
        hosts: names of machines; that of a domain is hidden without its domain, too.
        servers: hosts of addresses, hidden without their domain where that is no mere word.
        users: names of users.
        folders: that are named somewhere, which may have spaces.
    """

    def __init__(
        self,
        hosts: Iterable[str] = (),
        *,
        servers: Iterable[str] = (),
        users: Iterable[str] = (),
        folders: Iterable[str] = (),
    ) -> None:
        machines, addresses = ({name.lower() for name in names if name} - _LOCAL for names in (hosts, servers))
        self._shown = _numbered_hosts(machines, addresses)
        people = sorted({name.lower() for name in users if name} - _ACCOUNTS - set(self._shown))
        self._shown |= {name: f"user-{number}" for number, name in enumerate(people, 1)}
        longest_first = sorted(self._shown, key=len, reverse=True)
        either = "|".join(
            ("" if len(name) >= _SHORT else r"(?:(?<=on )|(?<=[/\\@]))") + re.escape(name) for name in longest_first
        )
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{either})(?![A-Za-z0-9])", re.IGNORECASE) if either else None
        self._folders: dict[str, str] = {}
        for folder in sorted(set(folders)):
            self._numbered(folder)
        self._seen: dict[str, str] = {}  # rows of a query repeat most of their texts

    @classmethod
    def of(cls, store: Store, experiment: str) -> Names:
        """Collect hosts and users of an experiment, and the servers and folders that its settings name."""
        sql = """
            SELECT DISTINCT hostname, environment->>'username' AS username, model, CAST(options AS VARCHAR) AS options,
                   CAST(conditions AS VARCHAR) AS conditions
            FROM runs WHERE experiment = ?
        """
        rows = store.dicts(sql, [experiment])
        settings = [json.loads(row[name] or "{}") for row in rows for name in ("options", "conditions")]
        texts = [row["model"] for row in rows] + [text for each in settings for _, text in _texts(each)]
        return cls(
            (row["hostname"] for row in rows if row["hostname"]),
            servers={host for each in settings for name, text in _texts(each) for host in _hosts_in(name, text)},
            users=(row["username"] for row in rows if row["username"]),
            folders={folder for text in texts if (folder := _folder_of(text))},
        )

    def hide(self, value: T) -> T:
        """Return JSON, or rows of a query, in which no text names a host, a user or a folder of theirs."""
        return cast("T", self._hidden(value))

    def hide_record(self, record: R) -> R:
        """Return a record likewise."""
        fields = {
            name: self._hidden(getattr(record, name))
            for name, field in type(record).model_fields.items()
            if name not in _KEPT and get_origin(field.annotation) is not Literal
        }
        return record.model_copy(update=fields)

    def _hidden(self, value: object) -> object:
        if isinstance(value, str):
            return self._seen.get(value) or self._seen.setdefault(value, self._text(value))
        if isinstance(value, Mapping):
            return {
                name: one if name in _KEPT else self._hidden(one) for name, one in value.items() if name != "username"
            }
        if isinstance(value, Record):
            return self.hide_record(value)
        if isinstance(value, list | tuple):
            return type(value)(self._hidden(one) for one in value if not _is_user(one))
        return value

    def _text(self, text: str) -> str:
        if text.lower() in self._shown:
            return self._shown[text.lower()]
        for folder, shown in list(self._folders.items()):  # before others: a path with spaces ends where it is known to
            text = text.replace(folder, f"{shown}/").replace(folder.replace("\\", "\\\\"), f"{shown}/")
        text = without_home_folders(text)
        text = _OF_USERS.sub(lambda found: self._numbered(f"{found[0]}/"), text)
        text = _PATH.sub(lambda found: f"{self._numbered(found[0])}/", text)
        text = _LOGIN.sub("", text)
        return self._pattern.sub(lambda found: self._shown[found[0].lower()], text) if self._pattern else text

    def _numbered(self, folder: str) -> str:
        """Return what stands for a folder, which ends in its separator; one of the system stays."""
        if _SYSTEM.match(folder):
            return folder.removesuffix("/")
        return self._folders.setdefault(folder, f"/folder-{len(self._folders) + 1}")


def _numbered_hosts(machines: set[str], addresses: set[str]) -> dict[str, str]:
    """Return what stands for each host, by all of its names: machines first, in order of their names."""
    full = [*sorted(machines), *sorted(addresses - machines)]
    in_domains = [name for name in full if "." in name and not _FOUR.fullmatch(name)]
    by_short = {name.partition(".")[0]: name for name in reversed(in_domains)}
    numbers: dict[str, str] = {}
    shown = {name: numbers.setdefault(by_short.get(name, name), f"host-{len(numbers) + 1}") for name in full}
    for short, name in by_short.items():
        if short not in _LOCAL and (name in machines or re.search(r"[\d-]", short)):
            shown.setdefault(short, shown[name])
    return shown


def _is_user(value: object) -> bool:
    """Whether a value is a fact of an environment that names a user."""
    return (value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)) == "username"


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Yield every text in settings with the name that it has."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, name)


def _hosts_in(name: str, text: str) -> Iterator[str]:
    """Yield the hosts that a setting names: in URLs, as HOST:PORT, or alone where the setting's name says so."""
    for pattern in (_URL, _HOST_PORT, _FOUR):
        for found in pattern.finditer(text):
            host = found["name"] or found["six"]
            if host.lower() not in _DEVICES:
                yield host
    if _HOST_OPTION.search(name):
        yield from (word for word in re.split(r"[\s,;]+", text) if re.fullmatch(_NAME, word) and not word.isdigit())


def _folder_of(text: str) -> str | None:
    """Return the folder, with the separator at its end, of a setting that is a path; None where it is none."""
    if not re.match(r"/|[A-Za-z]:\\|\\\\", text) or without_home_folders(text) != text and " " not in text:
        return None
    end = max(text.rfind("/"), text.rfind("\\"))
    return text[: end + 1] if end > 0 else None

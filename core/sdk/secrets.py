"""What looks like a secret: names that hold one, and texts that are one. Records are read by others.

Options with a secret are refused before they are recorded, and bundles go without what was recorded all the same; both
ask here. A name holds a secret if its last word says so: ``hf_token`` and ``adminApiKey`` do, ``token_limit``,
``key_file`` and ``stop_token_ids`` are a count, a path and ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

REMOVED = "SECRET-REMOVED"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLAIN = frozenset(
    "secret secrets password passwords passwd passphrase passcode credential credentials creds authorization auth "
    "bearer cookie cookies jwt pwd hft".split()
)
_OF_DATA = {
    "key": "public cache sort partition primary foreign extra routing hash group index lookup metric query label "
    "answer question row column field map num value",
    "token": "pad eos bos unk sep cls mask stop end start begin first last next previous new max min num special image "
    "audio video draft drafted prompt output input completion generated predicted target bonus think thinking tool "
    "each context cached assistant system page continuation padding unknown separator reasoning",
}
"""What stands before ``key`` and ``token`` where they are of data and of texts."""
_OF_ACCESS = frozenset(
    "access account admin api app auth azure bearer bot client database db deploy github gitlab hf hub huggingface id "
    "login master oauth openai private proxy refresh secret server service session signing ssh user vllm".split()
)
_ONE_WORD = re.compile(
    rf"(?P<front>.*(?=api)|)(?P<kind>{'|'.join(sorted(_OF_ACCESS, key=len, reverse=True))})(?P<noun>keys?|tokens?)"
    r"|(?P<whose>.+)(?P<plain>(?:secret|password|passwd)s?)"
)
_SWITCHES = frozenset("enable disable no require return skip has is without ignore".split())
_ENCODINGS = frozenset("value base b plain".split())  # base64 is two words

_SHAPES = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    "a URL with a user": re.compile(r"://([^/\s\"'\\@]+)@"),
    "a bearer token": re.compile(r"(?i:\bbearer)\s+([\w.~+/=-]{16,})"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){2,4}"),
    "an API key": re.compile(
        r"(?i:\b(?:hf_|sk-|[srp]k_(?:live|test)_|gh[pousr]_|github_pat_|xox[abeprs]-|xapp-|glpat-)[\w-]{16,})"
        r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{30,}|\b(?:nvapi|pypi|xai|pplx)-[\w-]{30,}|\bya29\.[\w-]{20,}"
        r"|\b(?:npm_|gsk_|r8_|api_org_|dckr_pat_|hvs\.)[A-Za-z0-9]{24,}"
    ),
}
"""What is a secret under any name. Where a part of it is, that is the pattern's group."""
_QUERY = re.compile(r"[?&]([\w.-]+)=(?=[^\s&])")
_HEADER = re.compile(r"\s*(?:bearer|basic)\s+(\S+)\s*", re.IGNORECASE)
_FLAG = re.compile(r"""(?<![\w-])(--?([A-Za-z][\w.-]+))["']?,?\s+(?!["']?--?[A-Za-z])""")
_ASSIGNED = re.compile(r"""((?<![\w.-])(?:--?)?[A-Za-z_][\w.-]*)["']?(\s*[=:]\s*)(?=\S)""")
_VALUE = re.compile(
    r"""(?P<quote>["'])(?:(?:basic|bearer|token|digest|apikey)\s+)?(?P<quoted>.*?)(?P=quote)"""
    r"""|["']?(?:(?:basic|bearer|token|digest|apikey)\s+)?(?P<bare>\$?\{\w+\}|[^\s"'&]*[^\s"'&,;}\])])""",
    re.IGNORECASE | re.DOTALL,
)
_COOKIES = re.compile("(?P<bare>[^\"'\n]+)")
_REFERENCE = re.compile(r"\$\w+|\$?\{\w+\}|<[\w -]+>")
"""A value that names a secret or says where one stands, and is none."""


@lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """Return whether what stands under a name is a secret: an option, a flag, a variable, a header."""
    is_folder = name in ("PWD", "OLDPWD")
    return not is_folder and any(map(_is_secret, (_words_of(name), _words_of(name.lower()))))


def _is_secret(words: Sequence[str]) -> bool:
    if not words or words[0] in _SWITCHES:
        return False
    *before, last = words
    qualifier = before[-1] if before else ""
    if last in _PLAIN:
        return True
    if last == "pass":  # a forward pass is none
        return not before or qualifier in _OF_ACCESS
    if last == "tokens":
        return qualifier in _OF_ACCESS
    noun = last.removesuffix("s")
    return noun in _OF_DATA and qualifier not in _OF_DATA[noun].split() and "per" not in before


def hide(value: Any, note: Callable[[str], None], *, is_prose: bool = False) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON without its secrets.

    Args:
        value: texts, such as a command, are searched as well, and so are lists of a command's words.
        note: called for each secret with what gave it away, a name or a shape, never the secret itself.
        is_prose: texts are what people and models wrote: an assignment in it is no setting, only shapes are looked for.
    """
    return _Hiding(note, is_prose).value(value)


def first_secret(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    """Return what gives the first secret in JSON away; None where there is none."""
    found: list[str] = []
    hide(value, found.append)
    return found[0] if found else None


def _words_of(name: str) -> list[str]:
    """Return the words of a name in camel, kebab or snake case, without what says how its value is written."""
    apart: list[str] = []
    for word in map(str.lower, _WORDS.findall(name)):
        joined = _ONE_WORD.fullmatch(word)
        apart += [word] if joined is None else filter(None, joined.groups())
    while len(apart) > 1 and (apart[-1].isdigit() or (len(apart) > 2 and apart[-1] in _ENCODINGS)):
        apart.pop()
    return apart


def _is_bare(name: str) -> bool:
    """Whether a name is ``key`` or ``token`` alone, which data have too."""
    return len(words := _words_of(name)) == 1 and words[0] in ("key", "keys", "token")


def _is_value(text: str) -> bool:
    return bool(text) and text != REMOVED and not _REFERENCE.fullmatch(text)


@dataclass(frozen=True, slots=True)
class _Hiding:
    note: Callable[[str], None]
    is_prose: bool

    def value(self, value: Any, name: str = "", secret: str = "") -> Any:  # noqa: ANN401 - any JSON
        """Return a value without secrets; all of it is one where ``secret`` says under which name it stands."""
        if isinstance(value, dict):
            return self._fields(value, name, secret)
        if isinstance(value, list | tuple):
            return self._items(value, secret)
        if isinstance(value, str):
            return self._noted(secret) if secret and _is_value(value) else self._text(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self._noted(secret) if secret and is_number and not _is_bare(secret) else value

    def _noted(self, what: str) -> str:
        self.note(what)
        return REMOVED

    def _is_secret(self, name: str) -> bool:
        return is_secret_name(name) and not (self.is_prose and _is_bare(name))

    def _fields(self, fields: dict[str, Any], name: str, secret: str) -> dict[str, Any]:
        if name == "properties":  # of a JSON schema: names of what others will fill in
            return {one: self.value(value) for one, value in fields.items()}
        named = next((fields[key] for key in ("name", "key", "header") if isinstance(fields.get(key), str)), "")
        if "value" in fields and self._is_secret(named):  # a variable or a header as an object
            return {**fields, "value": self.value(fields["value"], secret=named)}
        return {
            one: self.value(value, one, secret or (one if self._is_secret(one) else ""))
            for one, value in fields.items()
        }

    def _items(self, items: Sequence[Any], secret: str) -> list[Any]:
        """Return a list, which may be a command's words or a name and its value."""
        if not secret and all(type(item) in (int, float) for item in items):  # ids of tokens, a million of them
            return list(items)
        found = []
        for at, item in enumerate(items):
            before = items[at - 1] if at and isinstance(items[at - 1], str) else ""
            is_flag = before.startswith("-") and "=" not in before and not re.match("--?[A-Za-z]", str(item))
            is_pair = len(items) == 2 and not _is_bare(before) and not re.search(r"\s", before)
            is_named = not self.is_prose and (is_flag or is_pair) and is_secret_name(before)
            found.append(self.value(item, secret=secret or (before if is_named else "")))
        return found

    def _text(self, text: str) -> str:
        kept, at = "", 0
        for start, end, what in sorted([*_shapes(text), *([] if self.is_prose else _settings(text))]):
            if start >= at and _is_value(text[start:end]):
                kept, at = kept + text[at:start] + self._noted(what), end
        return kept + text[at:]


def _shapes(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a text has what is a secret under any name."""
    for what, pattern in _SHAPES.items():
        for found in pattern.finditer(text):
            yield (*found.span(pattern.groups), what)
    for found in _QUERY.finditer(text):
        if is_secret_name(found[1]):
            yield from _value_at(text, found.end(), found[1])


def _settings(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a text gives a secret by its name: as a header, a flag or a variable."""
    if (header := _HEADER.fullmatch(text)) is not None:
        yield (*header.span(1), "a bearer token")
    for found in _FLAG.finditer(text):
        if is_secret_name(found[2]):
            yield from _value_at(text, found.end(), found[1])
    for found in _ASSIGNED.finditer(text):
        is_certain = "=" in found[2] or not _is_bare(found[1])  # "unknown key: x" is a sentence
        if is_certain and is_secret_name(found[1]):
            yield from _value_at(text, found.end(), found[1])


def _value_at(text: str, start: int, name: str) -> Iterator[tuple[int, int, str]]:
    """Yield the value that begins there, of a header without its scheme."""
    pattern = _COOKIES if "cookie" in name.lower() else _VALUE
    if (found := pattern.match(text, start)) is not None:
        part = "bare" if found["bare"] is not None else "quoted"
        yield (*found.span(part), name)

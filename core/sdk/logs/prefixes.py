"""What routers, containers, collectors and mails put before every line of a log, and all of it that agrees.

::

    2026-11-30T12:00:00+0000 box bench[17]: | model | size | ...
    [pod/bench-0/main] | model | size | ...
    > > | model | size | ...

Words are taken for a prefix only up to what shows that they are one: a time, a name in brackets, a bar behind a name.
They must be the same on every line, times and levels apart: of two services in one log each keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice, takewhile

_LEVELS = "TRACE|DEBUG|INFO|INF|NOTICE|WARN|WARNING|WRN|ERROR|ERR|FATAL"
_QUOTED = re.compile(r"(?:[ \t]{0,8}>){1,20}")
_WORD = re.compile(
    r"[ \t]{0,40}(\[[^\]\n=\"{}]{1,100}\](?:<\w{1,10}>)?:?|\([^)\n=\"{}]{0,40}pid=[^)\n\"{}]{1,60}\)|"
    rf"\[\w{{1,40}}@\d{{1,9}} [^\]\n]{{1,200}}\]|(?:{_LEVELS}):[\w.]{{1,60}}:|[^\s=\"{{}}]{{1,100}}(?=[ \t]|$))"
)
_N, _L = "\x01", "\x02"
"""In the form of a word, in place of its digits and of a level."""
_CLOCK = re.compile(
    r"[\[(<]?(?:N[-/.]N[-/.]N[T_ ])?N:N(?::N)?(?:[.,]N)?(?:Z|[+-]N(?::N)?)?(?: L)?[\])>]?:?".replace("N", _N).replace(
        "L", _L
    )
)
_PLACE = re.compile(r"\[.*\](?:<\w+>)?:?|\(.*\)|.*\[\d{1,8}\]:|[|›]|<?std(?:out|err)>?:?|" + f"{_L}:.*")
_AFTER_TIME = re.compile(rf"-|{_L}|.*[A-Za-z].*:")
_DIGITS = re.compile(r"\d+")
_LEVEL = re.compile(rf"[\[(<]?(?:{_LEVELS})[\])>]?:?", re.IGNORECASE)
_LEVEL_WITHIN = re.compile(rf"\b(?:{_LEVELS})\b")
_OF_NO_TIME = re.compile("[A-SU-Ya-z]|[,;]$")
_NAMED_LEVEL = re.compile(rf"(?:{_LEVELS}):(?=.)")
_MOST_WORDS = 12
_BEGINNING = 20_000  # characters, in which the first lines are
_SOME = 40
"""Lines that are looked at before all are."""
_FEW = 20
"""Of so many lines one may be without the prefix, such as a collector's own first line."""


def unprefixed(text: str) -> str:
    """Return a text without what stands before every line; as it is where nothing does."""
    first = list(islice((line for line in text[:_BEGINNING].split("\n") if line.strip()), 3))
    if not any(_QUOTED.match(line) or _prefix_of(_words(line)) for line in first):
        return text
    lines = text.split("\n")
    told = [line for line in lines if line.strip()]
    if len(told) > 1 and all(_QUOTED.match(line) for line in told):
        lines = _cut(lines, _QUOTED)
        text = "\n".join(lines)
        told = [line for line in lines if line.strip()]
    if len(told) == 1:  # nothing shows what is a prefix, but that an object follows
        shared = _prefix_of(_words(told[0]))
        shared = shared if _cut(told, _pattern_of(shared))[0].lstrip().startswith(("{", "[{")) else ()
    else:
        shared = _shared_by(told) if len(set(told[:10])) > 1 else ()
    return "\n".join(_cut(lines, _pattern_of(shared))) if shared else text


def _cut(lines: Sequence[str], prefix: re.Pattern[str]) -> list[str]:
    """Return what is behind the prefixes; a space there is theirs where each has one, and else an indentation."""
    ends = [found.end() if (found := prefix.match(line)) else 0 for line in lines]
    rests = [line[end:] if end else line for line, end in zip(lines, ends, strict=True)]
    behind = {rest[0] for rest, end in zip(rests, ends, strict=True) if end and rest.strip()}
    if behind not in ({" "}, {"\t"}):
        return rests
    return [rest[1:] if end else rest for rest, end in zip(rests, ends, strict=True)]


def _shared_by(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the words before all lines, up to the last that shows that they are a prefix."""
    # Where the first line has none, it is a collector's own.
    shared = _prefix_of(_words(lines[0])) or _prefix_of(_words(lines[-1]))
    some = lines[:: 1 + len(lines) // _SOME]
    if sum(not _prefix_of(_common(shared, _words(line))) for line in some) > 1 + len(some) // _FEW:
        return ()
    missed: list[str] = []
    prefix = _pattern_of(shared)
    for line in lines:
        if shared and prefix.match(line):
            continue
        if common := _prefix_of(_common(shared, _words(line))):
            shared, prefix = common, _pattern_of(common)
        else:
            missed.append(line)
            if not shared or len(missed) > 1 + len(lines) // _FEW:
                return ()
    is_told = len(lines) - len(missed) > 1 and (not missed or len(lines) >= _FEW)
    return shared if is_told and not any(shared[-1] in line for line in missed) else ()


def _common(some: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    pairs = zip(some, others, strict=False)
    return tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _prefix_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words up to the last time, place or name in brackets."""
    last, is_timed = -1, False
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        is_clock = _CLOCK.fullmatch(word) is not None
        is_behind = before == "›" or (before.startswith("std") and word in ("F", "P"))
        if is_clock or _PLACE.fullmatch(word) or is_behind or (is_timed and _AFTER_TIME.fullmatch(word)):
            last = at
        is_timed = is_timed or is_clock
    return () if words[:1] in (["|"], ("|",)) else tuple(words[: last + 1])  # a row of a table


def _words(line: str) -> list[str]:
    """Return the first words of a line, those that differ from line to line in one form."""
    found: list[str] = []
    at = 0
    while len(found) < _MOST_WORDS and (word := _WORD.match(line, at)):
        found.append(_form_of(word[1]))
        at = word.end()
    return found


def _form_of(word: str) -> str:
    if _LEVEL.fullmatch(word):
        return _L
    if word.endswith(":") and (named := _NAMED_LEVEL.match(word)):
        return f"{_L}:{word[named.end() :]}"
    form = _DIGITS.sub(_N, _LEVEL_WITHIN.sub(_L, word))
    is_other = word[:1] == "[" and word[1:].rstrip("]:").isdigit()  # a port, or a process
    return word if is_other or _OF_NO_TIME.search(form) else form


@lru_cache(maxsize=64)
def _pattern_of(forms: tuple[str, ...]) -> re.Pattern[str]:
    words = (re.escape(form) + ("" if form[-1] in "]:>)" else r"(?=[ \t]|$)") for form in forms)
    text = "".join(rf"[ \t]{{0,40}}{word}" for word in words)
    return re.compile(text.replace(_N, r"\d+").replace(_L, rf"[\[(<]?(?i:{_LEVELS})[\])>]?:?"))

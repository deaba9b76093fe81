"""Checks of backends that batch continuously, and of where an engine runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..isolation.processes.messages import Line
from ..sdk.scoring import is_tie
from .check import check
from .outcome import Broken, NotApplicable
from .outputs import parting
from .subject import Subject

_TOGETHER = 2


def _streamed(subject: Subject) -> Sequence[Line]:
    if "continuous" not in subject.backend.supports:
        raise NotApplicable("it does not declare 'continuous'")
    if (why := subject.refusal_of(concurrency=_TOGETHER)) is not None:
        raise NotApplicable(f"it refuses streams with these options: {why}")
    return subject.generating("stream")


@check("Keep a cache per row, and yield the steps of every row with the row of its own request.")
def rows_of_a_stream_are_independent(subject: Subject) -> str:
    """A request that arrives while others run gets the same tokens as alone, ties excepted."""
    stream, _ = _streamed(subject)
    for row, (alone, together) in enumerate(zip(stream["alone"], stream["ids"], strict=True)):
        if alone != together and not is_tie(stream["margins"][row]):
            raise Broken(f"request {row} gets other tokens in a stream: {parting(alone, together)}")
    return f"{len(stream['ids'])} requests"


@check("Poll between two steps whenever a slot is free; advance every row that runs before the next request ends.")
def streams_keep_rows_running(subject: Subject) -> str:
    """A request is taken as soon as a row has ended, never more run together than allowed, and running rows continue
    meanwhile.
    """
    stream, _ = _streamed(subject)
    events = [tuple(event) for event in stream["events"]]
    running = most = 0
    for what, _ in events:
        running += {"taken": 1, "end": -1}.get(what, 0)
        most = max(most, running)
    if most > _TOGETHER:
        raise Broken(f"{most} requests are in flight; {_TOGETHER} may be")
    first, other, third = (events.index(("end", 0)), events.index(("end", 1)), events.index(("taken", 2)))
    if other < first:
        raise NotApplicable("not judged: the longer of two outputs ended first")
    if third > other:
        raise Broken("the third request waits until both before it have ended, though one had made room")
    last = events.index(("end", 2))
    if last < other and ("step", 1) not in events[third:last]:
        raise Broken("a row that runs stands still while a request that came later is answered from begin to end")
    return f"{len(stream['ids'])} requests, {_TOGETHER} in flight"


@check("Ask source.wants(row) before each step and end a row that is no longer wanted.")
def streams_end_what_is_not_wanted(subject: Subject) -> str:
    """A row that is no longer wanted ends before its limit, and the row next to it continues to its own."""
    _, cut = _streamed(subject)
    unwanted, wanted = cut["tokens"]
    if unwanted >= cut["limit"]:
        raise Broken(f"a row that was not wanted any more went on to its limit of {cut['limit']} tokens")
    if wanted != cut["limit"]:
        raise Broken(f"the row beside it has {wanted} of {cut['limit']} tokens")
    return f"ended after {unwanted} of {cut['limit']} tokens"


@check("Name what runs: a process on this machine that close ends, or the address of a remote server, never both.")
def residence_is_as_declared(subject: Subject) -> str:
    """An in-process engine names no server; an owned server is a child of this process and ends with close; a remote
    one has an address and no figures that only its host can know.
    """
    (seen,) = subject.ask("residence")
    residence, server = subject.backend.residence, seen["server"]
    if residence == "in-process":
        if server is not None:
            raise Broken(f"it says that it runs in process and names the server {server['url']}")
        return residence
    if server is None:
        raise Broken("it names no server after load")
    if residence == "remote":
        known = [
            name for name in ("parameters", "weight_bytes", "read_weight_bytes") if seen["facts"][name] is not None
        ]
        if server["pid"] is not None or known:
            raise Broken(f"of a remote server nobody here knows {', '.join(known) or 'the process'}: leave it None")
        return f"{residence}: {server['url']}"
    if not seen["is_below"]:
        raise Broken(f"process {server['pid']} of its server is none that it has started")
    if seen["left"]:
        raise Broken(f"{_processes(seen['left'])} of its server live on after close")
    return f"{residence}: process {server['pid']}"


def _processes(left: Sequence[int]) -> str:
    return f"{len(left)} process{'' if len(left) == 1 else 'es'}"

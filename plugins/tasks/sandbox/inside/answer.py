"""The process of the answer: runs it, then does what the tests ask of it. Nothing that it says is believed."""

from __future__ import annotations

import operator
import os
import sys
from types import ModuleType

from .reason import reason_of
from .values import Encoder, Node, Value, imported
from .wire import Gone, Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_getpid, _exit = os.getpid, os._exit

# How a value of a class of the answer's own becomes one of the built-in class that it derives from.
_PLAIN: dict[type, Callable[[Value], object]] = {
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    str: lambda value: str.__getitem__(value, slice(None)),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
}


class Answer(Peer):
    """The end of the answer.

    Args:
        source: file descriptor to read from.
        sink: file descriptor to write to.
    """

    def __init__(self, source: int, sink: int) -> None:
        self.program = ModuleType("__main__")
        self._borrowed: dict[int, Borrowed] = {}
        operations: dict[str, Callable[..., object]] = {
            "global": self._global,
            "call": lambda function, /, *arguments, **named: function(*arguments, **named),
            "make": self._make,
            "run": lambda coroutine: imported("asyncio", "run")(coroutine),
            "isinstance": isinstance,
            "index": operator.index,
            "getitem": operator.getitem,
            "setitem": operator.setitem,
            "delitem": operator.delitem,
        }
        for function in (getattr, setattr, delattr, iter, next, len, bool, str, int, float, complex):
            operations[function.__name__] = function
        super().__init__(source, sink, operations)

    def _global(self, name: str) -> object:
        if name not in self.program.__dict__:
            raise NameError(f"name {name!r} is not defined")
        return self.program.__dict__[name]

    def _make(self, kind: Callable[..., object], /, *arguments: object, **named: object) -> object:
        """Make an object that the tests want as such, whatever it derives from."""
        made = kind(*arguments, **named)
        self.lend(made)
        return made

    def encode_object(self, value: object, message: Encoder) -> Node:
        """Make a plain value of one that derives from a built-in class and is not lent yet; lend anything else."""
        if isinstance(value, Borrowed):
            return ["yours", value.number]
        for base, plain in _PLAIN.items():
            if isinstance(value, base) and not self.has_lent(value):
                return message.encode(plain(value))
        number = self.lend(value)
        if isinstance(value, type) and issubclass(value, BaseException):
            base = next(base for base in value.__mro__ if base.__module__ == "builtins")
            return ["exception", number, value.__module__, value.__qualname__, base.__name__]
        return ["lent", number, type(value).__name__]

    def decode_object(self, tag: str, parts: Node) -> object:
        """Return what the tests lend, or one of the answer's own objects."""
        if tag == "yours":
            return self.lent(parts[0])
        return self._borrowed.setdefault(parts[0], Borrowed(self, *parts))


class Borrowed:
    """A function or an iterator of the tests.

    Args:
        peer: whom to ask.
        number: what the tests know it by.
        name: what it is called.
    """

    def __init__(self, peer: Peer, number: int, name: str) -> None:
        self._peer = peer
        self.number = number
        self.__name__ = name

    def __call__(self, /, *arguments: object, **named: object) -> object:  # noqa: D102
        return self._peer.ask("call", self, *arguments, **named)

    def __iter__(self) -> Borrowed:
        return self

    def __next__(self) -> object:
        return self._peer.ask("next", self)


def serve(program: str, source: int, sink: int) -> None:
    """Run the answer, say how that ended, and do what is asked until nobody asks.

    Args:
        program: its source.
        source: file descriptor to read from.
        sink: file descriptor to write to.
    """
    peer = Answer(source, sink)
    sys.modules["__main__"] = peer.program
    own, error = _getpid(), None
    try:
        exec(compile(program, "program", "exec"), peer.program.__dict__)
    except BaseException as raised:  # noqa: BLE001 - SystemExit too: a program that leaves early has not passed
        error = reason_of(raised)
    if _getpid() != own:  # a child of the program comes by here as well
        _exit(0)
    try:
        peer.send(["ran", error, []])
        peer.serve()
    except Gone:
        _exit(0)

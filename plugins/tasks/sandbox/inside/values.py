"""Values as JSON and back: exact built-in types, no pickle.

Mutable containers stand in a table of their own, to which the rest refers by index: lists may hold themselves, and one
object that stands in two places arrives as one.
"""

from __future__ import annotations

import builtins
import importlib
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

Node = Any  # what JSON can hold
Value = Any  # of a program

# Taken before a program can replace them.
dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
load = json.JSONDecoder().decode

_WIDEST_BITS = 63  # an integer beyond is written in hexadecimal, which takes linear time both ways
_ATOMS = {bool, str, type(None)}
_BUILT_IN_TYPES = {kind for kind in vars(builtins).values() if type(kind) is type}

# Containers that may change.
_CONTAINERS: dict[str, type] = {
    "list": list,
    "dict": dict,
    "set": set,
    "bytearray": bytearray,
    "deque": deque,
    "Counter": Counter,
    "OrderedDict": OrderedDict,
    "defaultdict": defaultdict,
}
_CONTAINER_NAMES = {kind: name for name, kind in _CONTAINERS.items()}

# Values that never change: what each is made of again.
_PARTS: dict[str, Callable[[Value], tuple[object, ...]]] = {
    "builtins.complex": lambda value: (value.real, value.imag),
    "builtins.range": lambda value: (value.start, value.stop, value.step),
    "builtins.slice": lambda value: (value.start, value.stop, value.step),
    "builtins.bytes": lambda value: (value.hex(),),
    "builtins.ellipsis": lambda value: (),
    "builtins.dict_keys": lambda value: (list(value),),
    "builtins.dict_values": lambda value: (list(value),),
    "builtins.dict_items": lambda value: (list(value),),
    "fractions.Fraction": lambda value: (value.numerator, value.denominator),
    "decimal.Decimal": lambda value: (str(value),),
    "datetime.date": lambda value: (value.year, value.month, value.day),
    "datetime.datetime": lambda value: (value.isoformat(),),
    "datetime.time": lambda value: (value.isoformat(),),
    "datetime.timedelta": lambda value: (value.days, value.seconds, value.microseconds),
}
_MAKERS: dict[str, Callable[..., object]] = {
    "builtins.bytes": bytes.fromhex,
    "builtins.ellipsis": lambda: ...,
    "builtins.dict_keys": lambda items: dict.fromkeys(items).keys(),
    "builtins.dict_values": lambda items: dict(enumerate(items)).values(),
    "builtins.dict_items": lambda items: dict(items).items(),
    "datetime.datetime": lambda text: importlib.import_module("datetime").datetime.fromisoformat(text),
    "datetime.time": lambda text: importlib.import_module("datetime").time.fromisoformat(text),
}


class Encoder:
    """Turns the values of one message into JSON.

    Args:
        encode_object: encodes what is no plain value.
        containers: those that the other end knows already by their index, since they came with its request.
    """

    def __init__(self, encode_object: Callable[[Value, Encoder], Node], containers: list[Value] | None = None) -> None:
        self._encode_object = encode_object
        self.containers: list[Value] = list(containers or ())
        self._indices = {id(container): at for at, container in enumerate(self.containers)}

    def encode(self, value: Value) -> Node:
        """Return a value as JSON; containers get their place in the table."""
        kind: type = type(value)
        if kind in _ATOMS:
            return value
        if kind is int:
            return value if value.bit_length() <= _WIDEST_BITS else ["int", hex(value)]
        if kind is float:
            return value if math.isfinite(value) else ["float", repr(value)]
        if kind in _CONTAINER_NAMES:
            return ["at", self._index(value)]
        if kind is tuple:
            return ["tuple", *map(self.encode, value)]
        if kind is frozenset:
            return ["frozenset", *map(self.encode, value)]
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in _PARTS:
            return ["new", name, *map(self.encode, _PARTS[name](value))]
        if kind is type and value in _BUILT_IN_TYPES:
            return ["type", value.__name__]
        return self._encode_object(value, self)

    def encode_error(self, error: BaseException) -> Node:
        """Return an exception as JSON: its class and what it was made with."""
        try:
            arguments = self.encode(tuple(error.args))
        except Exception:  # noqa: BLE001 - an exception may hold anything
            arguments = ["tuple"]
        return ["error", self.encode(type(error)), arguments]

    def _index(self, container: Value) -> int:
        at = self._indices.get(id(container))
        if at is None:
            at = self._indices[id(container)] = len(self.containers)
            self.containers.append(container)
        return at

    def table(self) -> list[Node]:
        """Return the contents of the containers, those included that are found on the way."""
        return [self._entry(container) for container in self.containers]  # which grows meanwhile

    def changes(self, before: list[Node]) -> list[Node]:
        """Return the table with None where a container is what it was in the request."""
        entries = self.table()
        for at, old in enumerate(before):
            if dump(old) == dump(entries[at]):
                entries[at] = None
        return entries

    def _entry(self, container: Value) -> Node:
        name = _CONTAINER_NAMES[type(container)]
        extra: object = None
        if name == "bytearray":
            return [name, None, container.hex()]
        if name == "deque":
            extra = container.maxlen
        if name == "defaultdict":
            extra = container.default_factory
        if isinstance(container, dict):
            items = [part for pair in container.items() for part in pair]
        else:
            items = list(container)
        return [name, self.encode(extra), *map(self.encode, items)]


class Decoder:
    """Turns the JSON of one message into values of exact built-in types.

    Args:
        decode_object: decodes what is no plain value, from its tag and its parts.
        table: the message's containers; None for one that has not changed.
        known: containers of ours that the first entries stand for; they get the new contents.
    """

    def __init__(
        self, decode_object: Callable[[str, Node], object], table: Node, known: list[Value] | None = None
    ) -> None:
        self._decode_object = decode_object
        self.containers: list[Value] = list(known or ())
        for at, entry in enumerate(table):
            if at >= len(self.containers):
                self.containers.append(self._made(entry))
            elif entry is not None and _CONTAINERS[entry[0]] is not type(self.containers[at]):
                raise TypeError(entry[0])
        for container, entry in zip(self.containers, table, strict=True):
            if entry is not None:
                self._fill(container, entry)

    def _made(self, entry: Node) -> Value:
        name, extra = entry[0], self.decode(entry[1])
        if name == "deque":
            return deque(maxlen=extra)
        return defaultdict(extra) if name == "defaultdict" else _CONTAINERS[name]()

    def _fill(self, container: Value, entry: Node) -> None:
        if isinstance(container, bytearray):
            container[:] = bytes.fromhex(entry[2])
            return
        items = [self.decode(node) for node in entry[2:]]
        container.clear()
        if isinstance(container, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                container[key] = value
        elif isinstance(container, set):
            container.update(items)
        else:
            container.extend(items)

    def decode(self, node: Node) -> Value:
        """Return what a node stands for.

        Raises:
            Exception: of any kind, where it stands for nothing.
        """
        if node is None or isinstance(node, bool | str | int | float):
            return node
        tag, *parts = node
        if tag == "at":
            return self.containers[parts[0]]
        if tag == "int":
            return int(parts[0], 16)
        if tag == "float":
            return float(parts[0])
        if tag == "tuple":
            return tuple(map(self.decode, parts))
        if tag == "frozenset":
            return frozenset(map(self.decode, parts))
        if tag == "new":
            return _made_of(parts[0], [self.decode(part) for part in parts[1:]])
        if tag == "type":
            return next(kind for kind in _BUILT_IN_TYPES if kind.__name__ == parts[0])
        if tag == "error":
            return self._error(parts)
        return self._decode_object(tag, parts)

    def _error(self, parts: Node) -> BaseException:
        kind, arguments = map(self.decode, parts)
        if not issubclass(kind, BaseException):
            raise TypeError(kind)
        error: BaseException = kind.__new__(kind, *arguments)  # its __init__ may want others
        return error


def _made_of(name: str, parts: list[Value]) -> object:
    _PARTS[name]  # nothing else may be made
    if name in _MAKERS:
        return _MAKERS[name](*parts)
    module, _, kind = name.partition(".")
    return getattr(importlib.import_module(module), kind)(*parts)

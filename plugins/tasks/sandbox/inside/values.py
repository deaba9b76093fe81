"""Values as JSON and back: exact built-in types, no pickle.

Mutable containers stand in a table of their own, to which the rest refers by index: lists may hold themselves, and one
object that stands in two places arrives as one.
"""

from __future__ import annotations

import builtins
import math
import sys
from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False  # typing itself takes as long to import as all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = Any  # what JSON can hold
    Value = Any  # of a program
else:
    Node = Value = object


class _Plainly:
    """How JSON is read: what ``json.JSONDecoder`` tells the same scanner."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _refuse(value: object) -> object:
    raise TypeError(value)


# The C half of ``json``. Importing the other half, with ``re`` and ``enum``, would double the time that a sandbox takes
# to start. What is used later is taken now, before a program can replace it.
_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
_scan = make_scanner(_Plainly)  # type: ignore[arg-type]

_WIDEST_BITS = 63  # an integer beyond is written in hexadecimal, which takes linear time both ways
_ATOMS = {bool, str, type(None)}
_BUILT_IN_TYPES = {kind for kind in vars(builtins).values() if type(kind) is type}

# Containers that may change.
_BUILT_IN_CONTAINERS: dict[type, str] = {list: "list", dict: "dict", set: "set", bytearray: "bytearray"}
_OTHER_CONTAINERS = ("deque", "Counter", "OrderedDict", "defaultdict")  # of collections

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
    "datetime.datetime": lambda text: imported("datetime", "datetime").fromisoformat(text),
    "datetime.time": lambda text: imported("datetime", "time").fromisoformat(text),
}


def dump(node: Node) -> str:
    """Return JSON."""
    return "".join(_encode(node, 0))


def load(text: str) -> Node:
    """Return what JSON says.

    Raises:
        Exception: of several kinds, where it is none.
    """
    node, end = _scan(text, 0)
    if end != len(text):
        raise ValueError(end)
    return node


def imported(module: str, name: str) -> Value:
    """Return an object of a module of the standard library, which is imported where it was not yet."""
    __import__(module)
    return getattr(sys.modules[module], name)


def _container_name(kind: type) -> str | None:
    name = _BUILT_IN_CONTAINERS.get(kind)
    if name is None and kind.__module__ == "collections" and kind.__name__ in _OTHER_CONTAINERS:
        name = kind.__name__
    return name


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
        if _container_name(kind) is not None:
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
        name = _container_name(type(container))
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
            elif entry is not None and entry[0] != _container_name(type(self.containers[at])):
                raise TypeError(entry[0])
        for container, entry in zip(self.containers, table, strict=True):
            if entry is not None:
                self._fill(container, entry)

    def _made(self, entry: Node) -> Value:
        name, extra = entry[0], self.decode(entry[1])
        if name in _OTHER_CONTAINERS:
            kind = imported("collections", name)
            return kind(maxlen=extra) if name == "deque" else kind(extra) if name == "defaultdict" else kind()
        return next(kind for kind, own in _BUILT_IN_CONTAINERS.items() if own == name)()

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
        try:
            error: BaseException = kind(*arguments)
        except TypeError:  # it is made with others than it keeps
            error = kind.__new__(kind, *arguments)
        return error


def _made_of(name: str, parts: list[Value]) -> object:
    _PARTS[name]  # nothing else may be made
    if name in _MAKERS:
        return _MAKERS[name](*parts)
    module, _, kind = name.partition(".")
    return imported(module, kind)(*parts)

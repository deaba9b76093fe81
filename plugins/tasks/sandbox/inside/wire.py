"""Messages between two processes of which one is not trusted.

A message is a list with a verb, what it is about, and a table of the mutable containers in it. A function's arguments
are seen by its caller as it leaves them: a reply gives the contents of the containers that came with the request, where
they changed. Objects that are no values stay where they are and are lent: the other process gets a number for them.
"""

from __future__ import annotations

import os

from .values import Decoder, Encoder, Node, dump, load

MOST_BYTES = 32 * 2**20
_LENGTH_BYTES = 8

_getpid, _exit = os.getpid, os._exit  # taken before a program can replace them

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Operations = Mapping[str, Callable[..., object]]


class Gone(BaseException):
    """The other process has ended, or sends what is no message."""


class Unsendable(BaseException):
    """The tests need what cannot be carried between two processes."""


class Peer:
    """One end: asks the other to do something, and does what the other asks meanwhile.

    Args:
        source: file descriptor to read from.
        sink: file descriptor to write to.
        operations: what the other end may ask for, by name.

    Attributes:
        fault: how the other end broke off, ``"ended"`` or ``"garbled"``; empty while it has not. Nothing counts after.
    """

    def __init__(self, source: int, sink: int, operations: Operations) -> None:
        self._source = os.fdopen(source, "rb")
        self._sink = os.fdopen(sink, "wb")
        self._operations = operations
        self._lent: list[object] = []
        self._numbers: dict[int, int] = {}
        self._pid = _getpid()
        self.fault = ""

    def ask(self, operation: str, /, *arguments: object, **named: object) -> object:
        """Have the other end do something; return its result, or raise what it raised.

        Raises:
            Gone: it never answers again.
        """
        if self.fault:
            raise Gone
        request = Encoder(self.encode_object)
        what = [request.encode(argument) for argument in arguments]
        settings = [[name, request.encode(value)] for name, value in named.items()]
        self.send(["ask", [operation, what, settings], request.table()])
        while True:
            verb, what, table = self.receive()
            if verb == "ask":
                self._do(what, table)
            else:
                break
        with self._meaningful():
            reply = Decoder(self.decode_object, table, request.containers)
            result = reply.decode(what)
        if verb == "value":
            return result
        raise result if verb == "raised" and isinstance(result, BaseException) else self.broken("garbled")

    def serve(self) -> None:
        """Do what the other end asks until it ends."""
        while True:
            verb, what, table = self.receive()
            if verb != "ask":
                raise self.broken("garbled")
            self._do(what, table)

    def _do(self, what: Node, table: Node) -> None:
        with self._meaningful():
            request = Decoder(self.decode_object, table)
            operation, arguments, named = what
            arguments = [request.decode(argument) for argument in arguments]
            named = {str(name): request.decode(value) for name, value in named}
            do = self._operations[operation]
        verb = "value"
        try:
            result = do(*arguments, **named)
            reply = Encoder(self.encode_object, request.containers)
            root = reply.encode(result)
        except (Gone, Unsendable):
            raise
        except BaseException as raised:  # noqa: BLE001 - it is the other end's to handle
            verb, reply = "raised", Encoder(self.encode_object, request.containers)
            root = reply.encode_error(raised)
        if _getpid() != self._pid:  # the program forked: its child has nobody to reply to
            _exit(0)
        try:
            self.send([verb, root, reply.changes(table)])
        except MemoryError as error:
            self.send(["raised", Encoder(self.encode_object).encode_error(error), [None] * len(table)])

    def send(self, message: Node) -> None:
        """Write one message.

        Raises:
            MemoryError: it is longer than the other end takes.
        """
        data = dump(message).encode()
        if len(data) > MOST_BYTES:
            raise MemoryError(f"more than {MOST_BYTES // 2**20} MiB in one call or result")
        try:
            self._sink.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
            self._sink.flush()
        except OSError as error:
            raise self.broken("ended") from error

    def receive(self) -> tuple[str, Node, Node]:
        """Read one message: its verb, what it is about, the table of containers."""
        head = self._source.read(_LENGTH_BYTES)
        length = int.from_bytes(head, "big")
        if length > MOST_BYTES:
            raise self.broken("garbled")
        data = self._source.read(length)
        if len(head) < _LENGTH_BYTES or len(data) < length:
            raise self.broken("ended")
        with self._meaningful():
            verb, what, table = load(data.decode())
        return verb, what, table

    def lend(self, value: object) -> int:
        """Return the number by which the other end may refer to an object of ours, which is kept."""
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._lent)
            self._lent.append(value)
        return number

    def has_lent(self, value: object) -> bool:
        """Whether an object of ours is known to the other end."""
        return id(value) in self._numbers

    def lent(self, number: int) -> object:
        """Return the object that was lent by a number."""
        if number < 0:
            raise IndexError(number)
        return self._lent[number]

    def encode_object(self, value: object, message: Encoder) -> Node:
        """Encode what is no plain value."""
        raise NotImplementedError

    def decode_object(self, tag: str, parts: Node) -> object:
        """Decode what is no plain value."""
        raise NotImplementedError

    def broken(self, how: str) -> Gone:
        """Note how the other end broke off; return what to raise."""
        self.fault = self.fault or how
        return Gone()

    def _meaningful(self) -> _Meaningful:
        return _Meaningful(self)


class _Meaningful:
    """Whatever goes wrong while a message is read is the other end's fault: nothing that it says counts any more."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if isinstance(error, Exception):
            raise self._peer.broken("garbled") from error

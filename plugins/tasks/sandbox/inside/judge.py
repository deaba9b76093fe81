"""The process of the tests: runs them with stand-ins for what the answer defines, and says how they ended.

A test calls the answer's function; the arguments travel to the answer's process and its result comes back as a value of
an exact built-in type, so that comparing it runs no code of the answer. An object that is no value is a ``Remote``: it
can be called, iterated, indexed and asked for attributes, its length, its truth or a number, all of which it has to
name without knowing what is expected; it cannot be compared.
"""

from __future__ import annotations

import builtins
import os
import sys

from .reason import reason_of
from .values import Encoder, Node
from .wire import Gone, Peer, Unsendable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeVar

    Made = TypeVar("Made")

    # Found by its name, a function or a class; made by the tests from such a class; or whatever the answer returns.
    Role = Literal["function", "class", "made", "returned"]

    Verdict = tuple[str | None, str]  # what went wrong, None for nothing; what makes the verdict weaker, "" for nothing

OWN_WORD = "on the word of its own objects"
ONE_PROCESS = "in one process with its tests"
_LONGEST = 400

# Functions of Python itself and of the tests, bound or not, and iterators: what may be lent to the answer.
_FUNCTIONS = (type(lambda: 0), type(len), type("".join), type(str.join), type(os.times), type(Gone().__str__))


class Judge(Peer):
    """The end of the tests.

    Args:
        source: file descriptor to read from.
        sink: file descriptor to write to.

    Attributes:
        weakness: what makes a verdict weaker than that of values compared here; empty for nothing.
    """

    def __init__(self, source: int, sink: int) -> None:
        super().__init__(source, sink, {"call": self._call, "next": self._next})
        self.weakness = ""
        self._remotes: dict[int, Remote] = {}
        self._errors: dict[int, type[BaseException]] = {}
        self._stand_ins: dict[int, tuple[object, int]] = {}  # what is made here for an object of the answer, by its id

    def _call(self, function: Callable[..., object], /, *arguments: object, **named: object) -> object:
        self._check_lent(function)
        return function(*arguments, **named)

    def _next(self, iterator: Iterator[object]) -> object:
        self._check_lent(iterator)
        return next(iterator)

    def _check_lent(self, value: object) -> None:
        if not self.has_lent(value):
            raise TypeError("only what the tests hand over can be called")

    def encode_object(self, value: object, message: Encoder) -> Node:
        """Send an object of the answer back to it; lend functions and iterators of the tests."""
        if isinstance(value, Remote):
            return ["yours", value._number]
        if id(value) in self._stand_ins:
            return ["yours", self._stand_ins[id(value)][1]]
        kind = type(value)
        if kind in _FUNCTIONS or (kind.__module__ == "builtins" and hasattr(kind, "__next__")):
            return ["lent", self.lend(value), getattr(value, "__name__", kind.__name__)]
        raise self.unsendable()

    def decode_object(self, tag: str, parts: Node) -> object:
        """Return the stand-in of what the answer lends, or one of the tests' own objects."""
        if tag == "yours":
            return self.lent(parts[0])
        if tag == "exception":
            return self._error_class(*parts)
        if tag != "lent":
            raise ValueError(tag)
        number, kind = parts
        remote = self._remotes.setdefault(int(number), Remote(self, int(number), str(kind)))
        return self._standing_in(_awaited(self, remote), int(number)) if kind == "coroutine" else remote

    def _standing_in(self, value: Made, number: int) -> Made:
        self._stand_ins[id(value)] = value, number
        return value

    def _error_class(self, number: int, module: str, name: str, base: str) -> type[BaseException]:
        """Return what the tests catch: a class of the standard library that they have imported, else one made here."""
        is_standard = module.partition(".")[0] in sys.stdlib_module_names
        known = getattr(sys.modules.get(module), name, None) if is_standard else None
        if isinstance(known, type) and issubclass(known, BaseException):
            return known
        if number not in self._errors:
            kind = getattr(builtins, base)
            if not issubclass(kind, BaseException):
                raise TypeError(base)
            self._errors[number] = self._standing_in(type(str(name), (kind,), {}), int(number))
        return self._errors[number]

    def unsendable(self) -> Unsendable:
        """Note that the tests need the answer in their own process; return what to raise."""
        self.weakness = ONE_PROCESS
        return Unsendable()

    def note_own_word(self) -> None:
        """Note that the verdict may rest on what an object of the answer says of a value that it was shown."""
        self.weakness = self.weakness or OWN_WORD


class Remote:
    """An object of the answer.

    Args:
        judge: whom to ask.
        number: what the answer knows it by.
        kind: name of its class, as the answer says.
        role: how the tests came by it.
    """

    __slots__ = ("_judge", "_kind", "_number", "_role")
    _judge: Judge
    _kind: str
    _number: int
    _role: Role

    def __init__(self, judge: Judge, number: int, kind: str, role: Role = "returned") -> None:
        for name, value in (("judge", judge), ("number", number), ("kind", kind), ("role", role)):
            object.__setattr__(self, f"_{name}", value)

    def as_role(self, role: Role) -> Remote:
        """Return the same object, come by in another way."""
        return Remote(self._judge, self._number, self._kind, role)

    def __call__(self, /, *arguments: object, **named: object) -> object:  # noqa: D102
        if self._role in ("returned", "made") and (arguments or named):
            self._judge.note_own_word()
        if self._role != "class":
            return self._judge.ask("call", self, *arguments, **named)
        made = self._judge.ask("make", self, *arguments, **named)
        return made.as_role("made") if isinstance(made, Remote) else made

    def __getattr__(self, name: str) -> object:
        return self._judge.ask("getattr", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        self._judge.ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._judge.ask("delattr", self, name)

    def __instancecheck__(self, instance: object) -> bool:
        self._judge.note_own_word()
        return self._judge.ask("isinstance", instance, self) is True

    def __hash__(self) -> int:
        return hash((Remote, self._number))

    def __repr__(self) -> str:
        return f"<{self._kind} of the answer>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Remote) and other._number == self._number:
            return True
        if other is None:
            return False
        raise _refusal(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce_ex__(self, protocol: object) -> str:
        raise _refusal(self)  # a copy would be the answer's to make


def _refusal(*operands: object) -> BaseException:
    """Return what to raise where an operator is used on objects of the answer: it would be shown what is expected."""
    remotes = [operand for operand in operands if isinstance(operand, Remote)]
    for remote in remotes:
        if remote._role == "made":  # the tests made it, so its operators are theirs to use
            return remote._judge.unsendable()
    return TypeError(f"the answer gave an object of class {remotes[0]._kind[:80]!r} where a plain value is needed")


def _asking(operation: str) -> Callable[..., object]:
    def ask(remote: Remote, *arguments: object) -> object:
        return remote._judge.ask(operation, remote, *arguments)

    return ask


def _need_one_process(remote: Remote, *arguments: object) -> object:
    raise remote._judge.unsendable()


def _refuse(*operands: object) -> object:
    raise _refusal(*operands)


for _name in "len bool iter next getitem setitem delitem str int float complex index".split():
    setattr(Remote, f"__{_name}__", _asking(_name))
for _name in "enter exit aenter aexit aiter".split():  # what no plain value has: the tests ask for an object
    setattr(Remote, f"__{_name}__", _need_one_process)
for _name in "lt le gt ge".split():
    setattr(Remote, f"__{_name}__", _refuse)
for _name in "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor".split():
    setattr(Remote, f"__{_name}__", _refuse)
    setattr(Remote, f"__r{_name}__", _refuse)


async def _awaited(judge: Judge, remote: Remote) -> object:
    """Stand in for a coroutine of the answer, which runs to its end there."""
    return judge.ask("run", remote)


class Namespace(dict[str, object]):
    """The globals of the tests: what they define, and behind that what the answer defines.

    Args:
        judge: whom to ask.
        functions: what the tests take from the answer even where Python has it built in, such as ``sum``.
        classes: the same, of which they make objects.
    """

    def __init__(self, judge: Judge, functions: tuple[str, ...], classes: tuple[str, ...]) -> None:
        super().__init__(__name__="__main__")
        self._judge = judge
        self._functions = functions
        self._classes = classes

    def __missing__(self, name: str) -> object:
        is_known = name in self._functions or name in self._classes
        if not is_known and hasattr(builtins, name):
            raise KeyError(name)
        found = self._judge.ask("global", name)
        if not is_known and name in sys.stdlib_module_names:  # the answer has imported it; ours is genuine
            return __import__(name)
        return found.as_role("class" if name in self._classes else "function") if isinstance(found, Remote) else found


def verdict(tests: tuple[str, tuple[str, ...], tuple[str, ...]], source: int, sink: int, answer: int) -> Verdict:
    """Wait for the answer to run, run the tests, say how that ended.

    Args:
        tests: their source, the functions and the classes that they take from the answer.
        source: file descriptor to read from.
        sink: file descriptor to write to.
        answer: process of the answer.
    """
    program, functions, classes = tests
    judge = Judge(source, sink)
    try:
        verb, error, _ = judge.receive()
        if verb != "ran" or not (error is None or isinstance(error, str)):
            raise judge.broken("garbled")
        if error is None:
            exec(compile(program, "tests", "exec"), Namespace(judge, functions, classes))
    except BaseException as raised:  # noqa: BLE001 - whatever ends the tests early is a failure
        error = reason_of(raised)
    if judge.fault:  # even where the tests caught it
        error = _ending(answer) if judge.fault == "ended" else "sent an unknown message"
    return error and error[:_LONGEST], judge.weakness


def _ending(answer: int) -> str:
    import signal

    code = os.waitstatus_to_exitcode(os.waitpid(answer, 0)[1])
    return f"killed: {signal.Signals(-code).name}" if code < 0 else f"ended early with code {code}"

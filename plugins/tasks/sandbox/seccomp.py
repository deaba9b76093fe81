"""The filter of system calls, a classic BPF program for ``bwrap --seccomp``.

Calls that are not listed do not exist for the program (ENOSYS), those of newer kernels included. That leaves out what
has nothing to do with computing: ``io_uring``, keyrings, ``ptrace``, ``process_vm_*``, ``pidfd_getfd``, shared memory
and semaphores of System V, message queues, ``bpf``, ``userfaultfd``, ``perf_event_open``, ``kexec``, modules, mounts,
namespaces, ``splice``, ``memfd``, other users. Of those that are listed a few are allowed with some arguments only.

Source: Linux, ``Documentation/userspace-api/seccomp_filter.rst``; offsets are those of ``struct seccomp_data``.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .system_calls import checked_numbers, numbers

_LOAD_WORD, _RETURN = 0x20, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_RET | BPF_K
_IF_EQUAL, _IF_GREATER, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x25, 0x35, 0x45
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

# AUDIT_ARCH_*: a 32-bit call (``int 0x80``) has another one. Calls of the x32 ABI have this bit in their number.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

_AF_UNIX = 1  # asyncio's own socket pair; there is no network that another family could reach
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*; clone3, whose flags no filter can read, is not listed: libc falls back
_HARMLESS_IOCTLS = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
_THREAD_NAMES = (15, 16)  # PR_SET_NAME, PR_GET_NAME


@dataclass(frozen=True, slots=True)
class Rule:
    """What one argument of a call must be.

    Attributes:
        argument: its index from 0; its low 32 bits are looked at, and the kernel uses no others of these.
        values: what it may be; empty: anything without one of ``forbidden_bits``.
        error: errno where it is something else.
        forbidden_bits: bits that must not be set, where ``values`` is empty.
    """

    argument: int
    values: tuple[int, ...]
    error: int
    forbidden_bits: int = 0


RULES = {
    "socket": Rule(0, (_AF_UNIX,), errno.EAFNOSUPPORT),
    "socketpair": Rule(0, (_AF_UNIX,), errno.EAFNOSUPPORT),
    "clone": Rule(0, (), errno.EPERM, _NEW_NAMESPACES),
    "prlimit64": Rule(0, (0,), errno.EPERM),  # of the caller itself
    "ioctl": Rule(1, _HARMLESS_IOCTLS, errno.ENOTTY),
    "prctl": Rule(0, _THREAD_NAMES, errno.EINVAL),
}


def has_filter(machine: str) -> bool:
    """Whether there is a filter for a machine, as ``platform.machine()`` names it."""
    return machine in _ARCHITECTURES


def filter_program(machine: str) -> bytes:
    """Return the filter as an array of ``struct sock_filter``.

    Args:
        machine: ``"x86_64"`` or ``"aarch64"``.
    """
    lines = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
    ]
    for name, number in checked_numbers(machine).items():
        body = _checked(RULES[name])
        lines += [(_IF_EQUAL, 0, len(body), number), *body]
    for first, last in _runs(numbers(machine).values()):
        lines += [
            (_IF_GREATER, 2, 0, last),
            (_IF_AT_LEAST, 0, 1, first),
            (_RETURN, 0, 0, _ALLOW),
        ]
    lines.append((_RETURN, 0, 0, _ERROR | errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _checked(rule: Rule) -> list[tuple[int, int, int, int]]:
    lines = [(_LOAD_WORD, 0, 0, _ARGUMENTS_AT + 8 * rule.argument)]
    if rule.values:
        for value in rule.values:
            lines += [(_IF_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
        return [*lines, (_RETURN, 0, 0, _ERROR | rule.error)]
    lines += [(_IF_ANY_BIT, 1, 0, rule.forbidden_bits), (_RETURN, 0, 0, _ALLOW)]
    return [*lines, (_RETURN, 0, 0, _ERROR | rule.error)]


def _runs(found: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield stretches of consecutive numbers: a comparison for each instead of one for each call."""
    for _, run in groupby(enumerate(sorted(found)), key=lambda pair: pair[1] - pair[0]):
        values: Sequence[int] = [number for _, number in run]
        yield values[0], values[-1]

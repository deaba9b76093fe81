"""The filter of system calls for both processors, run here as the kernel runs it, whatever this machine is."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import struct

import pytest

from decodebench.plugins.tasks.sandbox.seccomp import RULES, filter_program, has_filter
from decodebench.plugins.tasks.sandbox.system_calls import checked_numbers, numbers

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
NOT_THERE = 0x00050000 | errno.ENOSYS
JUMPS = {
    0x15: lambda held, value: held == value,
    0x25: lambda held, value: held > value,
    0x35: lambda held, value: held >= value,
    0x45: lambda held, value: held & value,
}


def decision(machine, number, *arguments, architecture=None):
    """What the kernel would do: ``struct seccomp_data`` through the program, at most 4096 instructions."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *values)
    program = list(struct.iter_unpack("=HBBI", filter_program(machine)))
    assert len(program) <= 4096
    held, at = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        else:
            at += if_true if JUMPS[code](held, value) else if_false


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_listed_calls_are_allowed_and_no_other_exists(machine):
    listed, checked = set(numbers(machine).values()), set(checked_numbers(machine).values())
    assert (
        len(listed) == len(numbers(machine))
        and not listed & checked
        and checked_numbers(machine).keys() == RULES.keys()
    )
    for number in set(range(600)) - checked:
        assert decision(machine, number) == (ALLOWED if number in listed else NOT_THERE), number
    assert decision(machine, 2**30 - 1) == NOT_THERE


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_calls_of_another_architecture_end_the_program(machine):
    for other in (*ARCHITECTURES.values(), 0x40000003, 0x40000028):  # i386, arm
        if other != ARCHITECTURES[machine]:
            assert decision(machine, numbers(machine)["read"], architecture=other) == KILLED
    for number in (0x40000000, 0x40000001, 0x40000000 | 520, -1):  # x32, and what would wrap around
        assert decision(machine, number) == KILLED


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        *(("socket", (family, 1, 0), None if family == 1 else errno.EAFNOSUPPORT) for family in range(48)),
        ("socket", (2**32 + 1, 1, 0), None),  # the kernel looks at the low half, so does the filter
        ("socket", (2**32 + 40, 1, 0), errno.EAFNOSUPPORT),
        ("socketpair", (1, 1, 0), None),
        ("socketpair", (2, 1, 0), errno.EAFNOSUPPORT),
        ("clone", (0x3D0F00,), None),  # a thread, as glibc makes one
        ("clone", (0x4111,), None),  # vfork
        *(("clone", (17 | 1 << bit,), errno.EPERM) for bit in (17, 25, 26, 27, 28, 29, 30)),
        ("prlimit64", (0, 6, 1, 0), None),
        ("prlimit64", (1, 6, 1, 0), errno.EPERM),
        ("ioctl", (0, 0x5401), None),
        ("ioctl", (0, 0x5412), errno.ENOTTY),  # TIOCSTI
        ("ioctl", (0, 0x541C), errno.ENOTTY),  # TIOCLINUX
        ("prctl", (15, 0), None),
        ("prctl", (4, 1), errno.EINVAL),  # PR_SET_DUMPABLE
        ("prctl", (22, 2), errno.EINVAL),  # PR_SET_SECCOMP
    ],
)
def test_some_calls_are_allowed_with_some_arguments(machine, name, arguments, error):
    wanted = ALLOWED if error is None else 0x00050000 | error
    assert decision(machine, checked_numbers(machine)[name], *arguments) == wanted


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_numbers_are_those_of_the_kernel(machine):
    path = ctypes.util.find_library("seccomp")
    if path is None:
        pytest.skip("libseccomp, which knows the numbers, is not installed")
    number_of = ctypes.CDLL(path).seccomp_syscall_resolve_name_arch
    for name, number in (numbers(machine) | checked_numbers(machine)).items():
        assert number_of(ctypes.c_uint32(ARCHITECTURES[machine]), name.encode()) == number, name


def test_there_is_no_filter_for_another_machine():
    assert has_filter("x86_64") and has_filter("aarch64") and not has_filter("riscv64") and not has_filter("i686")

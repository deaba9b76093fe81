"""The command that starts a sandbox: bubblewrap, behind what bounds ``/tmp`` and, for root, becomes ``nobody``.

Bubblewrap mounts a ``/tmp`` of a given size but not of a given number of files, so that is mounted before, in a mount
namespace of its own. The limit on processes is counted per user, and Linux exempts root from it: where this process
runs as root, the sandbox is entered as ``nobody``.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .limits import Limits

_PACKAGES = {"bwrap": "bubblewrap", "unshare": "util-linux", "setpriv": "util-linux", "mount": "mount"}  # by tool

_NOBODY = 65534
_MOUNTED = Path("/mnt")  # where things are put for bubblewrap to take; nobody else sees it
_ENTER = f"""
mount -t tmpfs -o "$1" tmpfs {_MOUNTED} && mkdir -m 1777 {_MOUNTED}/tmp {_MOUNTED}/place || exit
[ -z "$2" ] || mount --bind "$2" {_MOUNTED}/place || exit
shift 2 && exec "$@"
"""
_TMP_OVERHEAD = 3  # the file system's own root, /tmp itself, the place

# What a program gets for its first one: it loads the modules of the launcher, compiled, from standard input.
_BOOT = """
import marshal, sys
kind = type(sys)
for name, code in marshal.load(sys.stdin.buffer):
    module = sys.modules[name] = kind(name)
    module.__package__ = name.rpartition('.')[0] or name
    exec(code, module.__dict__)
module.main(sys.argv[1:])
"""


def command(limits: Limits, seccomp: int, tests: int, verdict: int) -> list[str]:
    """Return what is run, with an empty environment and the launcher's modules on standard input.

    Args:
        limits: for the program.
        seccomp: file descriptor of the filter.
        tests: file descriptor that the judge reads the tests from.
        verdict: file descriptor that the judge writes to.
    """
    place = _place_for_nobody() if _as_root() else None
    bwrap = [_tool("bwrap"), "--unshare-all", "--unshare-user", "--disable-userns", "--seccomp", str(seccomp)]
    bwrap += ["--new-session", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
    bwrap += ["--uid", str(_NOBODY), "--gid", str(_NOBODY)]
    for name, value in {"PATH": "/usr/bin", "HOME": "/tmp", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}.items():
        bwrap += ["--setenv", name, value]
    for path in _needed():
        moved = _MOUNTED / "place" / path.relative_to(place) if place and path.is_relative_to(place) else path
        bwrap += ["--ro-bind", str(moved), str(path)]
    for device in ("null", "zero", "full", "random", "urandom"):
        bwrap += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    # No /proc, which shows and reaches other processes, but a link that finds libraries beside the interpreter.
    bwrap += ["--symlink", str(_interpreter()), "/proc/self/exe"]
    bwrap += ["--bind", str(_MOUNTED / "tmp"), "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
    # The sandbox's first process and the judge are counted as well.
    figures = (tests, verdict, limits.cpu_s, limits.memory_bytes, limits.processes + 2, limits.file_bytes)
    bwrap += [str(_interpreter()), "-I", "-S", "-B", "-c", _BOOT, *map(str, figures)]
    return [*_entrance(limits, place), *bwrap]


def _tool(name: str) -> str:
    return shutil.which(name) or name


def missing_tools() -> dict[str, str]:
    """Return the programs that are not installed, with the package of each."""
    return {tool: package for tool, package in _PACKAGES.items() if shutil.which(tool) is None}


def _as_root() -> bool:
    return os.geteuid() == 0


def _entrance(limits: Limits, place: Path | None) -> list[str]:
    """Return what runs before bubblewrap: it mounts ``/tmp``, and of root it makes nobody."""
    space = f"size={limits.tmp_bytes},nr_inodes={limits.tmp_files + _TMP_OVERHEAD},mode=0755"
    own_user = [] if _as_root() else ["--user", "--map-root-user"]
    enter = [_tool("unshare"), *own_user, "--mount", "/bin/sh", "-c", _ENTER, "sh", space, str(place or "")]
    become = [_tool("setpriv"), f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return [*enter, *become] if _as_root() else enter


def _place_for_nobody() -> Path | None:
    """Return the interpreter's folder where it lies behind one that nobody may not enter, such as ``/root``."""
    base = Path(sys.base_prefix).resolve()
    is_open = all(folder.stat().st_mode & stat.S_IXOTH for folder in (base, *base.parents))
    return None if is_open else base


def _interpreter() -> Path:
    return Path(sys.executable).resolve()


@cache
def _needed() -> tuple[Path, ...]:
    """Return what the interpreter needs: its own files, and the folders of the libraries that are mapped into it."""
    base = Path(sys.base_prefix).resolve() / "lib"
    found = {_interpreter(), Path(os.__file__).resolve().parent, *base.glob("libpython*.so*"), *_libraries()}
    found |= {loader for folder in ("lib", "lib64") for loader in Path("/", folder).glob("ld-*.so*")}
    return tuple(sorted(found, key=lambda path: len(path.parts)))


def _libraries() -> Iterator[Path]:
    """Yield the folders of the system's libraries in use; modules of the standard library need no others."""
    maps = Path("/proc/self/maps")
    paths = re.findall(r"(/\S+\.so[.0-9]*)$", maps.read_text(), re.MULTILINE) if maps.exists() else []
    for folder in {Path(path).parent for path in paths}:
        if folder.parts[1:2] in (("lib",), ("lib64",)) or folder.parts[1:3] in (("usr", "lib"), ("usr", "lib64")):
            yield folder

"""The errors that decodebench raises on purpose. Only the command line catches the base, prints and exits."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb


class DecodebenchError(Exception):
    """Base of every error a user may see; its text is one or two lines: what, the value, what is allowed, what next."""


class UsageError(DecodebenchError):
    """The plan, a flag or an input file is wrong; nothing was measured. Exit code 2."""


class BusyError(DecodebenchError):
    """The machine is too busy to be measured on, and that is not wanted; nothing was measured. Exit code 1."""


class PluginError(DecodebenchError):
    """A plugin cannot be loaded or breaks its contract."""


class ModelError(DecodebenchError):
    """A model cannot be found, read, converted or loaded."""


class BackendError(DecodebenchError):
    """An engine failed while it loaded or generated; recorded as the reason of a failed round."""


class SampleError(BackendError):
    """A generation failed and the next one may not, as when a server was away: a failed sample, the round goes on."""


class OutOfMemoryError(BackendError):
    """An engine, or the limit set for it, ran out of host or device memory."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """Build the error for a name that is not known, with the nearest valid one.

    Args:
        kind: what the name names, in the singular, e.g. ``"backend"``.
        name: what the user wrote.
        known: every valid name.
        hint: a further sentence on what to do next.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f"; did you mean {near[0]!r}?" if near else ";"
    listed = ", ".join(names) if names else "none"
    return UsageError(f"unknown {kind} {name!r}{suggestion} known: {listed}" + (f"\n{hint}" if hint else ""))


def described(error: BaseException) -> str:
    """Word an exception of a plugin's code: its type, its text on one line, and the plugin's line that led to it."""
    text = " ".join(str(error).split())
    places = [
        (str(frame.f_globals.get("__name__")).partition(".")[0], f"{frame.f_code.co_filename}:{line}")
        for frame, line in walk_tb(error.__traceback__)
        if not _is_hosts(str(frame.f_globals.get("__name__")))
    ]
    place = next((place for top, place in reversed(places) if top == places[0][0]), None)
    return type(error).__name__ + (f": {text}" if text else "") + (f" ({place})" if place else "")


@contextmanager
def plugin_code(what: str) -> Iterator[None]:
    """Turn what a plugin's code raises into a ``PluginError`` that says of whom and where; our own errors pass."""
    try:
        yield
    except DecodebenchError:
        raise
    except Exception as error:
        raise PluginError(f"{what}: {described(error)}") from error


def _is_hosts(module: str) -> bool:
    """Whether a module is Python's or the host's; built-in plugins are neither."""
    top, *rest = module.split(".")
    if top == "decodebench":
        return rest[:1] != ["plugins"]
    return top == "__main__" or top in sys.stdlib_module_names  # a process of ours is never begun by a plugin

"""The errors that decodebench raises on purpose. Only the command line catches the base, prints and exits."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue


CODES = {
    # the command line and its files
    "command-line": "an unknown or malformed flag or argument",
    "bad-usage": "a request that cannot be carried out; the message says why and what to do instead",
    "unknown-name": "a name that is not known: `kind`, `name`, `nearest`",
    "bad-value": "a value of the wrong form or out of range",
    "conflicting-flags": "settings that exclude each other",
    "missing-flag": "a setting is missing that another one needs",
    "file-unreadable": "a file that cannot be read, or is not what it should be",
    "folder-missing": "a folder that does not exist, or is not an output folder",
    "path-taken": "a file, folder or experiment of that name exists already",
    "wrong-suffix": "a file name with the wrong suffix",
    "write-failed": "a file or folder cannot be written",
    "file-trouble": "the system refuses access to a file: disk full, no permission",
    "package-missing": "a Python package or program is not installed; the message says how to install it",
    "install-failed": "packages cannot be installed or removed here; the message says what to do instead",
    # what is to be measured
    "nothing-to-measure": "neither a plan nor backends were given",
    "no-model": "no model was given",
    "no-workload": "neither a task nor a prompt length was given",
    "no-engine": "the engine or launcher is not installed, or its plugin is disabled",
    "not-supported": "the backend, task or format does not support the request",
    "same-cells": "cells that differ only in settings without effect",
    "one-cell-needed": "the command needs exactly one cell, and the matrix has more or none",
    "dataset-missing": "a task's data set is not on this machine and cannot be downloaded",
    "no-sandbox": "there is no sandbox here for code that models write, so it is not run",
    "code-execution": "the task runs code that a model wrote, which was not allowed",
    "machine-busy": "the machine is busy, and --strict refuses to measure then",
    "folder-in-use": "another run is measuring into the folder",
    # models
    "model-unusable": "a model that cannot be read, converted or loaded, for any other reason",
    "model-not-found": "no model of that name, path or Hub id",
    "model-unsupported": "a model with an architecture, layer or setting that the engine does not have",
    "model-config-invalid": "a field of a model's configuration is missing, or has a wrong type or value",
    "model-damaged": "a file of a model is missing, cut off or changed",
    "model-mismatch": "two models that do not belong together, such as a draft of another target",
    "container-unsupported": "a model stored in a form that the backend cannot read, such as pickled weights",
    "weights-mismatch": "tensors that are missing, left over, or of another shape than the configuration says",
    "quantisation-unsupported": "weights that cannot be converted to, or read from, a weight format",
    "tokenizer-missing": "a model without a tokenizer",
    "tokenizer-unsupported": "a kind of tokenizer that the engine does not have",
    "tokenizer-damaged": "tokenizer files that cannot be read or contradict each other or the model",
    "tokenizer-mismatch": "two models, or a model and a server, with different tokenizers",
    "conversion-failed": "a tool could not convert or quantise a model",
    "load-failed": "an engine's library could not load a model",
    "no-disk-space": "a prepared model or a log does not fit on the disk",
    "context-exceeded": "a prompt that does not fit into the model's context",
    "prompt-refused": "a prompt that a decoder cannot take, such as one without tokens",
    "cannot-score": "a text whose log-probability is not defined, such as a choice without tokens",
    "template-failed": "the model's chat template cannot be read or rendered",
    # engines and plugins
    "engine-failed": "an engine failed while loading or generating",
    "device-missing": "a device that the engine does not see",
    "out-of-memory": "out of host or device memory",
    "engine-crashed": "an engine's process died; the message says how",
    "timed-out": "a round ran out of time; finished samples count",
    "sample-failed": "generations failed; the message has the first one's reason",
    "server-error": "a server refused a request or reported an error, in its own words",
    "server-busy": "a server refused a request for now, such as HTTP 429 or 503",
    "server-lost": "the connection to a server broke, or the server stopped answering",
    "answer-invalid": "a server's answer is malformed, or contradicts itself or the request",
    "version-mismatch": "client and server have incompatible versions",
    "address-unavailable": "a server cannot listen at its address",
    "no-answer": "a process did not answer in time",
    "plugin-failed": "a plugin cannot be loaded, or its code failed",
    "contract-broken": "a plugin returned what the contract does not allow",
    # results
    "no-results": "there are no results, or none that match the request",
    "data-missing": "the logs lack the data of a figure",
    "log-unreadable": "a log that is cut off, damaged or in an unknown format; the message has file, line and field",
    "line-refused": "a line of a worker that cannot be recorded",
    "logs-conflict": "two logs of one round, or two files of one name",
    "bundle-damaged": "a file that is not a bundle, or was changed",
    "bundle-differs": "model, task or options on this machine differ from those of the bundle",
    "store-outdated": "the store is of an older version and cannot be rebuilt",
    "store-newer": "the store is of a newer version",
    "store-in-use": "another process has the store open",
    "store-trouble": "the store cannot be read or written now",
    "query-failed": "the SQL of a query failed",
}
"""What an error's code means, for programs and tests: words can change, a code keeps its meaning."""


class DecodebenchError(Exception):
    """Base of every error a user may see; its text is one or two lines: what, the value, what is allowed, what next.

    Args:
        text: for people.
        code: for programs, one of ``CODES`` or a plugin's own; None: that of the class.
        fields: further values for programs, such as the unknown name.
    """

    code: str = "write-failed"

    def __init__(self, text: str = "", *, code: str | None = None, **fields: JsonValue) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code
        self.fields = fields


class UsageError(DecodebenchError):
    """The plan, a flag or an input file is wrong; nothing was measured. Exit code 2."""

    code = "bad-usage"


class BusyError(DecodebenchError):
    """The machine is too busy, and the caller refuses to measure then; nothing was measured. Exit code 1."""

    code = "machine-busy"


class PluginError(DecodebenchError):
    """A plugin cannot be loaded or breaks its contract."""

    code = "plugin-failed"


class ModelError(DecodebenchError):
    """A model cannot be found, read, converted or loaded."""

    code = "model-unusable"


class BackendError(DecodebenchError):
    """An engine failed while loading or generating; recorded as the reason of a failed round."""

    code = "engine-failed"


class CrashError(BackendError):
    """An engine's process died."""

    code = "engine-crashed"


class SampleError(BackendError):
    """One generation failed, the next may succeed, as when a server is down: a failed sample; the round continues."""

    code = "sample-failed"


class OutOfMemoryError(BackendError):
    """An engine, or the limit set for it, ran out of host or device memory."""

    code = "out-of-memory"


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """Build the error for a name that is not known, with the nearest valid one.

    Args:
        kind: what kind of thing it is, in the singular, e.g. ``"backend"`` or ``"option of llama-cpp"``.
        name: what the user wrote.
        known: every valid name.
        hint: a further sentence on what to do next.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f"; did you mean {near[0]!r}?" if near else ";"
    listed = ", ".join(names) if names else "none"
    noun, *where = re.split(r" (?=of |in )", kind, maxsplit=1)
    what = " ".join((noun, repr(name), *where))
    text = f"unknown {what}{suggestion} known: {listed}" + (f"\n{hint}" if hint else "")
    return UsageError(text, code="unknown-name", kind=kind, name=name, nearest=near[0] if near else None)


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


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one: ``1 round``, ``5 rounds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def differ(name: str) -> str:
    """Return a name with its verb: ``quantisation differs``, ``threads differ``."""
    return f"{name} differ" if name.endswith("s") else f"{name} differs"


def markdown() -> str:
    """Return ``docs/errors.md``: every code with what it means."""
    lines = [
        "# Errors",
        "",
        "Every message ends with a code in brackets, such as `[unknown-name]`; words may change, codes keep their",
        "meaning. With `--json` a command that fails prints",
        '`{"error": {"code": ..., "message": ..., "exit_code": ...}}` and the fields that the table names; in Python',
        "they are `error.code` and `error.fields`. A failed round has the code of its reason in `run --json` and, as",
        "`reason_code`, in its record; so has a failed sample. The code of a finding is the name of its check",
        "([findings.md](findings.md)).",
        "This page is generated from `core/errors.py`.",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| `{code}` | {meaning} |" for code, meaning in CODES.items()),
    ]
    return "\n".join(lines) + "\n"

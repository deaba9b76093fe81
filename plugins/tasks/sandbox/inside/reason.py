"""What is said of an exception: its class and the first line of its message."""

from __future__ import annotations

_LONGEST = 200


def reason_of(error: BaseException) -> str:
    """Return a few words, whatever the exception does when it is asked for its text."""
    try:
        text = str(error).split("\n", 1)[0][:_LONGEST]
    except BaseException:  # noqa: BLE001 - it is the program's own
        text = ""
    name = type(error).__name__[:_LONGEST]
    return f"{name}: {text}" if text else name

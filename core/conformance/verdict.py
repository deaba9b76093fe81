"""How a check ends: its verdict, and what a trial raises that does not end in ``passed``."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["passed", "failed", "skipped"]


class Broken(Exception):
    """The backend breaks the rule; the text is what was seen, with the values."""


class NotApplicable(Exception):
    """The rule does not bind this backend; the text is the declaration, or what is missing on this machine."""

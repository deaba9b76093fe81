"""How the trial of a rule ends when the backend does not keep it."""

from __future__ import annotations


class Broken(Exception):
    """The backend breaks the rule; the text is what was seen, with the values."""


class NotApplicable(Exception):
    """The rule does not bind this backend; the text is the declaration, or what is missing on this machine."""

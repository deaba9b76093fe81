"""Asking a backend or launcher whether it can run here; one that fails at that is not available, no more breaks."""

from __future__ import annotations

from ..contract.backend import Backend
from ..contract.launcher import Launcher
from ..contract.requirements import Availability
from ..errors import described
from .trace import traced


def availability(asked: type[Backend] | type[Launcher]) -> Availability:
    """Return what ``probe`` says; an exception becomes the reason why it is not available."""
    try:
        with traced("probe", f"{'launcher' if issubclass(asked, Launcher) else 'backend'} {asked.name}"):
            found = asked.probe()
        if not isinstance(found.version, (str, type(None))):
            raise TypeError(f"its version {found.version!r} is not text")
        return found
    except Exception as error:  # noqa: BLE001 - the plugin boundary
        return Availability(False, reason=f"its probe failed: {described(error)}")

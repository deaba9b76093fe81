"""Asking a backend whether it can run here; a plugin that fails at that is not available, and nothing else breaks."""

from __future__ import annotations

from ..contract.backend import Backend
from ..contract.requirements import Availability
from ..errors import described
from .trace import traced


def availability(backend: type[Backend]) -> Availability:
    """Return what ``backend.probe`` says; an exception becomes the reason why it is not available."""
    try:
        with traced("probe", f"backend {backend.name}"):
            found = backend.probe()
        if not isinstance(found.version, (str, type(None))):
            raise TypeError(f"its version {found.version!r} is no text")
        return found
    except Exception as error:  # noqa: BLE001 - the plugin boundary
        return Availability(False, reason=f"its probe failed: {described(error)}")

"""What must be installed for a backend to run, and whether it is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a backend can run here; built without importing its engine.

    Attributes:
        available: whether ``load`` can be expected to work.
        version: the engine's version, from package metadata; None if unknown before ``load``.
        reason: why it is not available, one sentence.
        fix: the exact command that makes it available.
    """

    available: bool
    version: str | None = None
    reason: str | None = None
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Requires:
    """Distributions that a backend needs, looked up in package metadata; nothing is imported.

    Attributes:
        distributions: names as an installer knows them, that of the engine first. A tuple stands for any one of the
            distributions in it, such as the builds of one library for several kinds of device.
        fix: the command that installs them.
        shown: the engine's version as listings and records have it; ``{0}`` is that of the first distribution, ``{1}``
            that of the second.
    """

    distributions: tuple[str | tuple[str, ...], ...]
    fix: str
    shown: str = "{0}"

    def availability(self) -> Availability:
        """Say whether all of them are installed."""
        versions = []
        for names in self.distributions:
            found = _first_version((names,) if isinstance(names, str) else names)
            if found is None:
                missing = names if isinstance(names, str) else names[-1]
                return Availability(False, reason=f"{missing} is not installed", fix=self.fix)
            versions.append(found)
        return Availability(True, version=self.shown.format(*versions))


def _first_version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None

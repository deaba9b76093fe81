"""The test class that a plugin author inherits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import JsonValue

from ... import defaults
from ..contract.backend import Backend
from ..errors import UsageError
from ..isolation.plugins import all_plugins
from .check import Check
from .kit import CHECKS, checks_of
from .subject import Setup, Subject


class BackendConformance:
    """Inherit it in a class called ``Test...``, name a backend, and pytest runs every check as a test of its own.

    Attributes:
        backend: the class under test, or its name; its plugin must be installed, since the checks run in processes of
            their own, as measurements do. Its author's own checks (``Backend.checks``) are tests, too.
        model: a named model, path or Hub id; None: the one that backends are shown with.
        quantisation: weight format; None: the backend's first.
        device: device name.
        options: values that differ from the defaults.
        reference: backend that a claim of exactness is compared with; None: the one that declares itself the reference.
        timeout_s: a process of a check is killed after so many seconds.
    """

    backend: ClassVar[type[Backend] | str]
    model: ClassVar[str | None] = None
    quantisation: ClassVar[str | None] = None
    device: ClassVar[str] = "cpu"
    options: ClassVar[Mapping[str, JsonValue]] = {}
    reference: ClassVar[str | None] = None
    timeout_s: ClassVar[float] = defaults.CONFORMANCE_TIMEOUT_S

    _subject: ClassVar[Subject | None] = None

    def __init_subclass__(cls, **keywords: Any) -> None:  # noqa: ANN401 - those of other bases
        super().__init_subclass__(**keywords)
        named = cls.__dict__.get("backend")
        backend = all_plugins().backends.get(named) if isinstance(named, str) else named
        for check in checks_of(backend)[len(CHECKS) :] if backend is not None else ():
            setattr(cls, f"test_{check.name}", _test_of(check))

    @classmethod
    def subject(cls) -> Subject:
        """Return what is under test, the same for every check, so that nothing is measured twice.

        Raises:
            UsageError: no backend is named, or no installed plugin provides it.
        """
        found = cls.__dict__.get("_subject")
        if found is None:
            name, reference = _registered(cls), cls.reference
            setup = Setup(name, cls.model, cls.quantisation, cls.device, cls.options, reference, cls.timeout_s)
            found = cls._subject = Subject(setup)
        return found


def _registered(suite: type[BackendConformance]) -> str:
    """Return the backend's name after making sure that this very backend is found by it."""
    named = getattr(suite, "backend", None)
    if named is None:
        raise UsageError(
            f"{suite.__name__} names no backend: set `backend` to the class or its name", code="contract-broken"
        )
    if isinstance(named, str):
        return named
    found = all_plugins().backend(named.name)
    if (found.__module__, found.__qualname__) != (named.__module__, named.__qualname__):
        raise UsageError(
            f"backend {named.name!r} is {found.__module__}.{found.__qualname__} where it is installed, not "
            f"{named.__module__}.{named.__qualname__}: install the plugin that holds the class",
            code="contract-broken",
        )
    return str(named.name)


def _test_of(check: Check) -> Callable[[BackendConformance], None]:
    def test(self: BackendConformance) -> None:
        import pytest

        result = check.run(self.subject())
        if result.verdict == "skipped":
            pytest.skip(result.reason or "")
        if result.verdict == "failed":
            pytest.fail(f"{result.rule}\nseen: {result.reason}\nadvice: {result.advice}", pytrace=False)

    test.__name__ = f"test_{check.name}"
    test.__qualname__ = f"{BackendConformance.__qualname__}.{test.__name__}"
    test.__doc__ = check.rule
    return test


for _check in CHECKS:
    setattr(BackendConformance, f"test_{_check.name}", _test_of(_check))

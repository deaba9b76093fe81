"""All checks, in the order in which they run, and the record of a backend that went through them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from pydantic import Field, JsonValue

from ..contract.backend import Backend
from ..errors import UsageError, described, unknown_name
from ..records.schema import Record
from . import agreement, declarations, generation, resources, streams
from .check import Check, CheckResult
from .subject import Subject

_TABLE_BEGINS, _TABLE_ENDS = "<!-- checks: written by `make docs` -->", "<!-- end of checks -->"

CHECKS = tuple(
    found
    for module in (declarations, generation, streams, resources, agreement)
    for found in vars(module).values()
    if isinstance(found, Check)
)
"""Every check of the modules, in the order in which it stands there."""


class ConformanceReport(Record):
    """What the kit says of one backend."""

    backend: str = Field(description="name of the backend")
    plugin: str = Field(description="entry point that provides it")
    model: str = Field(description="model that it was checked with")
    quantisation: str = Field(description="weight format")
    device: str = Field(description="device")
    options: dict[str, JsonValue] = Field(description="every option with its value")
    results: tuple[CheckResult, ...] = Field(description="one per check")

    @classmethod
    def of(cls, subject: Subject, results: Sequence[CheckResult]) -> ConformanceReport:
        """Put the results of one backend together."""
        cell = subject.cell
        return cls(
            backend=cell.backend.name,
            plugin=cell.plugin,
            model=cell.model.name,
            quantisation=cell.quantisation,
            device=cell.device,
            options=cell.expanded_options,
            results=tuple(results),
        )

    @property
    def failed(self) -> Sequence[CheckResult]:
        """The checks that failed."""
        return [result for result in self.results if result.verdict == "failed"]


def checks_of(backend: type[Backend]) -> Sequence[Check]:
    """Return every check of a backend: the contract's, then its author's own.

    Raises:
        UsageError: the module that it names for them cannot be imported, holds none, or takes a name of the contract's.
    """
    return (*CHECKS, *(_own_checks(backend, backend.checks) if backend.checks else ()))


def _own_checks(backend: type[Backend], module: str) -> Sequence[Check]:
    what = f"backend {backend.name!r}: its checks in module {module!r}"
    try:
        found = [value for value in vars(import_module(module)).values() if isinstance(value, Check)]
    except Exception as error:  # the plugin boundary
        raise UsageError(f"{what} cannot be imported: {described(error)}", code="plugin-failed") from error
    if not found:
        raise UsageError(f"{what}: there are none; make them with decodebench.testing.check", code="contract-broken")
    for name in {check.name for check in found} & {check.name for check in CHECKS}:
        raise UsageError(
            f"{what}: {name!r} is the name of a check of the contract; choose another", code="contract-broken"
        )
    return found


def chosen(names: Sequence[str], checks: Sequence[Check] = CHECKS) -> Sequence[Check]:
    """Return the checks called ``names``, in their own order; all where none is named.

    Raises:
        UsageError: there is no check of that name; gives the nearest.
    """
    known = {check.name: check for check in checks}
    for name in names:
        if name not in known:
            raise unknown_name("check", name, known)
    return [check for check in checks if check.name in names or not names]


def with_table(page: str) -> str:
    """Return the documentation's page with its table of checks written anew.

    Raises:
        ValueError: the page has no place marked for it.
    """
    rows = [f"| `{check.name}` | {check.rule} | {check.advice} |" for check in CHECKS]
    table = "\n".join(["| check | rule | where to look when it fails |", "| --- | --- | --- |", *rows])
    before, begin, rest = page.partition(_TABLE_BEGINS)
    _, end, after = rest.partition(_TABLE_ENDS)
    if not (begin and end):
        raise ValueError(f"the page has no place between {_TABLE_BEGINS!r} and {_TABLE_ENDS!r}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"

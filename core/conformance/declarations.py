"""Checks of what a backend says before anything is loaded: its import, its probe, its options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from ..contract.backend import Backend
from ..contract.options import BackendOptions
from ..errors import UsageError
from ..host.validation import validate_options
from .check import check
from .outcome import Broken, NotApplicable
from .subject import Subject

_IMPORT_S = 0.25
_PROBE_CPU_S = 0.05
_PROBE_WALL_S = 1.0
_UNKNOWN_OPTION = "no_such_option"
_NONSENSE = ({"no": "such value"}, ["no such value", None], "no such value", -1e300)


@check("Import the engine inside devices, prepare, load and later methods, never at the top of a module.")
def importing_loads_no_engine(subject: Subject) -> str:
    """Importing the plugin imports only the standard library, decodebench with its dependencies and the plugin's own
    package, and takes no more CPU time than decodebench itself.
    """
    found = subject.declarations
    _refuse_foreign("importing the plugin", found["imported"])
    limit = max(_IMPORT_S, found["host_s"])
    if found["import_s"] > limit:
        raise Broken(f"importing the plugin took {found['import_s']:.2f} s of CPU time; {limit:.2f} s are allowed")
    return f"{found['import_s'] * 1e3:.0f} ms of CPU time"


@check("Read versions from package metadata (importlib.metadata.version) or files; start and import nothing.")
def probe_is_cheap(subject: Subject) -> str:
    """`probe` and `quantisations` import no engine; the first call of `probe` takes at most 50 ms of CPU time and 1 s
    of wall time.
    """
    found = subject.declarations
    _refuse_foreign("probing", found["probe_imported"])
    cpu_s, wall_s = found["probe"]["cpu_s"], found["probe"]["wall_s"]
    if cpu_s > _PROBE_CPU_S:
        raise Broken(f"probe() took {cpu_s * 1e3:.0f} ms of CPU time; {_PROBE_CPU_S * 1e3:.0f} ms are allowed")
    if wall_s > _PROBE_WALL_S:
        raise Broken(f"probe() took {wall_s:.1f} s; {_PROBE_WALL_S:g} s are allowed")
    return f"{cpu_s * 1e3:.0f} ms of CPU time"


def _refuse_foreign(deed: str, modules: Mapping[str, str]) -> None:
    if modules:
        named = ", ".join(f"{name} (of {owner})" for name, owner in list(modules.items())[:4])
        more = f" and {len(modules) - 4} more" if len(modules) > 4 else ""
        raise Broken(f"{deed} imports {named}{more}")


@check(
    "Say available=True only if load can be expected to work; otherwise give the reason and the command that fixes it."
)
def probe_is_honest(subject: Subject) -> str:
    """An available backend loads a model and, if it needs an installed package, gives its version; an unavailable one
    gives the reason and the fix.
    """
    told = subject.declarations["availability"]
    if not told["available"]:
        missing = [name for name in ("reason", "fix") if not told[name]]
        if missing:
            raise Broken(f"probe() says that the backend is not available and gives no {' and no '.join(missing)}")
        return f"not available here: {told['reason']}"
    is_silent = told["version"] is None and _states_no_requirement(subject.backend)
    if not is_silent and (not isinstance(told["version"], str) or not told["version"].strip()):
        raise Broken(f"probe() says that the backend is available and gives the version {told['version']!r}")
    if subject.loading_fault:
        raise Broken(f"probe() says that the backend is available, but {subject.loading_fault}")
    return told["version"] or "nothing has to be installed for it"


def _states_no_requirement(backend: type[Backend]) -> bool:
    """Whether it leaves the answer to the contract, and names nothing that must be installed."""
    return backend.requires is None and backend.probe.__func__ is Backend.probe.__func__  # type: ignore[attr-defined]


@check("Derive Options from BackendOptions, leave its model_config alone, give every field a type and a description.")
def options_refuse_what_they_should(subject: Subject) -> str:
    """Options have valid defaults and descriptions, are frozen, survive a round trip through JSON, and refuse unknown
    names and values of a wrong type, naming them.
    """
    kind = subject.backend.Options
    if not issubclass(kind, BackendOptions):
        raise Broken(f"{kind.__name__} does not derive from BackendOptions")
    faults = list(_option_faults(subject, kind))
    if faults:
        raise Broken("; ".join(faults[:4]))
    return f"{len(kind.model_fields)} options"


def _option_faults(subject: Subject, kind: type[BackendOptions]) -> Iterator[str]:
    try:
        options = kind()
    except ValidationError as error:
        yield f"its own defaults are refused: {error.errors()[0]['msg']}"
        return
    if not _refuses(subject, _UNKNOWN_OPTION, 1):
        yield "an unknown option is accepted"
    for name, field in kind.model_fields.items():
        if not (field.description or "").strip():
            yield f"option {name} has no description"
        if not any([_refuses(subject, name, value) for value in _NONSENSE]):
            yield f"option {name} takes a value of any type"
        try:
            setattr(options, name, getattr(options, name))
        except ValidationError:
            continue
        yield f"option {name} can be changed after validation"
    if kind.model_validate(json.loads(json.dumps(options.model_dump(mode="json")))) != options:
        yield "the defaults are others after a way through JSON"


def _refuses(subject: Subject, name: str, value: object) -> bool:
    """Whether a value is refused by a sentence that names the option."""
    try:
        validate_options(subject.backend, {name: value})  # type: ignore[dict-item]
    except UsageError as error:
        return name in str(error)
    return False


@check("Use the option, remove it, or name it in Preflight.inert where another option disables it.")
def options_are_used(subject: Subject) -> str:
    """Every option is read in preflight, prepare, load, generate or score, unless `Preflight.inert` names it; passing
    all of them on at once (model_dump) counts as reading all.
    """
    if not subject.backend.Options.model_fields:
        raise NotApplicable("it has no options")
    (found,) = subject.ask("options")
    host_reads = {subject.backend.companion_option}
    unread = set(subject.backend.Options.model_fields) - set(found["read"]) - set(found["inert"]) - host_reads
    if unread:
        raise Broken(f"never read, and not named in Preflight.inert: {', '.join(sorted(unread))}")
    inert = f"; inert here: {', '.join(found['inert'])}" if found["inert"] else ""
    return f"{len(found['read'])} read{inert}"

"""``plugins check``: hold a backend to the contract and say of every rule whether it keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from .... import defaults
from ...api.plan_content import set_options
from ...api.plugins import installed_plugins
from .. import exit_codes
from ..guidance.sections import examples
from ..output import CONTEXT, console, echo, json_option, print_json, print_table
from ..plan_flags import parse_options

if TYPE_CHECKING:
    from ...conformance.check import Check, CheckResult
    from ...conformance.kit import ConformanceReport
    from ...conformance.subject import Subject

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


@click.command(
    context_settings=CONTEXT,
    epilog=examples(
        "decodebench plugins check llama-cpp", "decodebench plugins check my-engine --only greedy_is_deterministic"
    ),
)
@click.argument("name", help="Backend, or plugin, of which all backends are checked.")
@click.option("-m", "--model", metavar="MODEL", help="Model of the checks.  [default: that of `decodebench demo`]")
@click.option("-q", "--quantisation", metavar="NAME", help="Weight format.  [default: the backend's first]")
@click.option("-d", "--device", default="cpu", metavar="NAME", help="Device.")
@click.option("--set", "settings", multiple=True, metavar="[BACKEND.]OPTION=V", help="Set an option; repeatable.")
@click.option("--reference", metavar="BACKEND", help="Backend to compare outputs with if this one claims to be exact.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run only this check; repeatable.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=defaults.CONFORMANCE_TIMEOUT_S,
    metavar="SECONDS",
    help="Time limit per process of a check.",
)
@json_option
def check(name: str, as_json: bool, **flags: Any) -> int:  # noqa: ANN401 - click hands every other flag over by name
    """Check a backend against the plugin contract.

    Exit code 0 if every check passed or does not apply, 1 if one failed.
    """
    from ...conformance.kit import checks_of, chosen
    from ...conformance.subject import Setup, Subject, backend_names

    registry = installed_plugins()
    names = backend_names(registry, name)
    chosen_backends = {one: registry.backend(one) for one in names}
    checks = {one: chosen(flags["only"], checks_of(backend)) for one, backend in chosen_backends.items()}
    options = set_options(parse_options(flags["settings"]), chosen_backends, [])
    subjects = [
        Subject(
            Setup(
                one,
                flags["model"],
                flags["quantisation"],
                flags["device"],
                options[one],
                flags["reference"],
                flags["timeout"],
            ),
            registry,
        )
        for one in names
    ]
    reports = [_report(subject, checks[subject.setup.backend], is_shown=not as_json) for subject in subjects]
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    return exit_codes.FAILED if any(report.failed for report in reports) else exit_codes.DONE


def _report(subject: Subject, checks: Sequence[Check], *, is_shown: bool) -> ConformanceReport:
    from ...conformance.kit import ConformanceReport

    report = ConformanceReport.of(subject, list(_results(subject, checks)))
    if is_shown:
        echo(f"{report.backend} with {report.model}, {report.quantisation}, {report.device}")
        print_table(["check", "verdict", "seen"], [_row(result) for result in report.results], empty="no check")
        echo(_summary(report))
    return report


def _results(subject: Subject, checks: Sequence[Check]) -> Iterator[CheckResult]:
    """Run the checks one after the other and tell on the error output how each went."""
    from rich.text import Text

    out = console(stderr=True)
    with out.status("") as status:
        for number, check in enumerate(checks, 1):
            place = f"{subject.backend.name} {number}/{len(checks)}"
            status.update(f"{place} {check.name}")
            result = check.run(subject)
            out.print(Text.assemble(f"{place} {check.name}: ", (result.verdict, _STYLES[result.verdict])))
            yield result


def _row(result: CheckResult) -> Sequence[str]:
    return [result.check, result.verdict, "\n".join(filter(None, (result.reason, result.advice)))]


def _summary(report: ConformanceReport) -> str:
    counts = {verdict: sum(result.verdict == verdict for result in report.results) for verdict in _STYLES}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)

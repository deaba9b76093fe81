"""``consistency``: recompute printed tables from their own figures."""

from __future__ import annotations

import json

import click
from rich import box
from rich.console import Console
from rich.table import Table

from ... import UsageError, printable
from .check import Finding, check
from .shipped import find, shipped

_ORDER = {"no": 0, "rounding": 1, "exact": 2}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("table", metavar="[FILE.toml|NAME]", required=False)
@click.option("--list", "only_list", is_flag=True, help="List the published tables that ship with decodebench.")
@click.option("--all", "show_all", is_flag=True, help="Also show claims that hold.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def consistency(table: str | None, only_list: bool, show_all: bool, as_json: bool) -> int:
    """Recompute published tables from their own numbers.

    FILE.toml has tables of published numbers and claims about them; NAME is one that ships with decodebench, see
    --list. Exit code 1 if a claim does not hold.
    """
    if only_list:
        _list(as_json)
        return 0
    if table is None:
        raise UsageError("name a file or a table that ships with decodebench; --list shows those", code="missing-flag")
    report = check(find(table))
    if as_json:
        content = json.loads(report.model_dump_json())  # where an infinite spread is null
        click.echo(json.dumps(content, indent=2))  # in ASCII: names of a table come from outside
    else:
        _print([finding for finding in report.findings if show_all or finding.verdict != "exact"])
        click.echo(", ".join(f"{count} {verdict}" for verdict, count in report.totals.items()))
    return 1 if report.totals["no"] else 0


def _list(as_json: bool) -> None:
    known = [
        {
            "name": name,
            "title": file.title,
            "tables": len(file.tables),
            "claims": len(file.claims),
            "source": file.source,
        }
        for name, file in shipped().items()
    ]
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    for one in known:
        click.echo(f"{one['name']}: {one['title']}; {one['tables']} tables, {one['claims']} claims\n  {one['source']}")


def _print(findings: list[Finding]) -> None:
    if not findings:
        click.echo("every figure agrees to the printed digit")
        return
    table = Table("verdict", "claim", "row", "printed", "recomputed", "note", box=box.SIMPLE_HEAD, pad_edge=False)
    for f in sorted(findings, key=lambda finding: _ORDER[finding.verdict]):
        texts = (f.verdict, f.claim, f.row or "", f.printed or "", f"{f.recomputed:.6g}", f.note)
        table.add_row(*map(printable, texts))
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # whole lines for other programs
    console.print(table)

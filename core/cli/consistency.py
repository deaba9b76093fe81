"""``consistency``: recompute printed tables from their own figures."""

from __future__ import annotations

from pathlib import Path

import click

from .output import CONTEXT, json_option, print_json, print_table


@click.command(context_settings=CONTEXT)
@click.argument("file", metavar="FILE.toml", type=click.Path(path_type=Path))
@click.option("--all", "show_all", is_flag=True, help="Show what agrees, too.")
@json_option
def consistency(file: Path, show_all: bool, as_json: bool) -> int:
    """Recompute printed tables from their own figures.

    FILE.toml holds tables of printed figures and claims about them. Exit code 1: some claim does not hold.
    """
    from ...collate.consistency import check

    report = check(file)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        order = {"no": 0, "rounding": 1, "exact": 2}
        shown = [f for f in report.findings if show_all or f.verdict != "exact"]
        rows = [
            [f.verdict, f.claim, f.row or "", f.printed or "", f"{f.recomputed:.6g}", f.note]
            for f in sorted(shown, key=lambda f: order[f.verdict])
        ]
        columns = ["verdict", "claim", "row", "printed", "recomputed", "note"]
        print_table(columns, rows, empty="every figure agrees to the printed digit")
        click.echo(", ".join(f"{count} {verdict}" for verdict, count in report.totals.items()))
    return 1 if report.totals["no"] else 0

"""``query``: SQL on the store, as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import UsageError
from ...foreign_text import csv_cell, printable
from ..guidance.sections import examples
from ..output import CONTEXT, folder_argument, json_option, print_json, print_table
from ..results import open_results

if TYPE_CHECKING:
    from ...api.table import Table


@click.command(
    context_settings=CONTEXT,
    epilog=examples('decodebench query "SELECT backend, count(*) FROM runs GROUP BY backend"'),
)
@click.argument("sql", help="Statement in the SQL of DuckDB.")
@folder_argument
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@json_option
def query(sql: str, folder: Path, as_csv: bool, as_json: bool) -> None:
    """Run SQL on the store.

    Tables: runs, samples, steps, sample_facts, sources, parity_scores, parity_cells; views: sample_metrics,
    run_metrics.
    """
    if as_csv and as_json:
        raise UsageError("--json and --csv cannot be combined", code="conflicting-flags")
    with open_results(folder) as results:
        found = results.query(sql)
    if as_json:
        print_json(_records(found))
    elif as_csv:
        _print_csv(found)
    else:
        print_table(found.columns, found.rows, empty="no row")


def _records(found: Table) -> list[dict[str, object]]:
    """Return a record for each row.

    Raises:
        UsageError: two columns have one name, so that a record cannot hold both.
    """
    twice = [name for name, count in Counter(found.columns).items() if count > 1]
    if twice:
        raise UsageError(
            f"two columns are called {twice[0]!r}: name one of them with AS, or use --csv", code="bad-value"
        )
    return [dict(zip(found.columns, map(plain, row), strict=True)) for row in found.rows]


def plain(value: object) -> object:
    """Return a value as JSON has it: nan and infinity are null, a blob is hexadecimal, the keys of a map are texts."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value.is_finite() and value == value.to_integral_value() else plain(float(value))
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case date() | datetime() | time():
            return value.isoformat()
        case dict():
            return {_key(name): plain(one) for name, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
    return str(value)


def _key(name: object) -> str:
    made = plain(name)
    return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


def _print_csv(found: Table) -> None:
    """Print CSV with a heading; what is not known is empty, and nothing is a formula of a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, found.columns))
    writer.writerows(map(_cell, row) for row in found.rows)
    click.echo(printable(text.getvalue()), nl=False)


def _cell(value: object) -> object:
    """Return a value in a cell: lists, structs and booleans as JSON writes them, numbers as they are."""
    made = value if isinstance(value, float | Decimal) else plain(value)
    return json.dumps(made, ensure_ascii=False) if isinstance(made, bool | list | dict) else csv_cell(made)

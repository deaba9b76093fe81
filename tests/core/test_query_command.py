"""``query``: any value of DuckDB as JSON and as CSV, and statements that give nothing."""

from __future__ import annotations

import csv
import io
import json

import pytest

from ..collate.conftest import Logs

NESTED = """
    SELECT [1.5::DECIMAL(5, 2), 2] AS numbers, {'at': TIME '10:00', 'raw': '\\x01\\xff'::BLOB, 'is': true} AS fields,
           MAP {1: DATE '2020-01-01'} AS days, MAP {[1]: 'x'} AS lists, 'nan'::DOUBLE AS odd, ['inf'::FLOAT] AS more,
           INTERVAL 3 DAYS AS gap, true AS yes, NULL AS nothing, '\\xAB'::BLOB AS raw, -5 AS low, 2::DECIMAL AS whole
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    logs = Logs(tmp_path_factory.mktemp("query"))
    logs.write("a")
    return logs.folder


def test_nested_values_are_valid_json(cli, folder):
    shown = cli("query", NESTED, folder, "--json")
    (record,) = json.loads(shown.out, parse_constant=pytest.fail)
    assert record["numbers"] == [1.5, 2]
    assert record["fields"] == {"at": "10:00:00", "raw": "01ff", "is": True}
    assert record["days"] == {"1": "2020-01-01"}
    assert (record["odd"], record["more"], record["nothing"]) == (None, [None], None)
    assert (record["yes"], record["raw"], record["low"], record["whole"]) == (True, "ab", -5, 2)


def test_csv_has_json_for_what_has_parts(cli, folder):
    (row,) = csv.DictReader(io.StringIO(cli("query", NESTED, folder, "--csv").out))
    assert json.loads(row["numbers"]) == [1.5, 2] and json.loads(row["fields"])["raw"] == "01ff"
    assert (row["yes"], row["raw"], row["low"], row["nothing"]) == ("true", "ab", "-5", "")


@pytest.mark.parametrize("sql", ["", ";", "  ", " -- nothing", "/* */;", "SELECT 1; SELECT 2"])
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_without_one_statement_one_line_says_so(cli, folder, sql, flags):
    ended = cli("query", sql, folder, *flags)
    assert ended.code == 2 and "[query-failed]" in ended.err and "Traceback" not in ended.err


def test_json_and_csv_are_not_combined(cli, folder):
    ended = cli("query", "SELECT 1", folder, "--json", "--csv")
    assert ended.code == 2 and "[conflicting-flags]" in ended.err

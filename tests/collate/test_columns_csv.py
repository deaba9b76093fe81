"""Any CSV, with the user's word on its columns; the word survives in the output folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.parsers.columns import TARGETS, is_of_run, parse_columns
from decodebench.collate.parsers.columns_csv import ColumnsCsv
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.errors import UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run, Sample
from decodebench.core.records.store import Store

from ..at_night import examples
from ..refusals import refused

TABLE = Path(__file__).parents[1] / "data" / "csv" / "results.csv"
COLUMNS = (
    "backend=engine,model=model,quantisation=quant,option.threads=threads,round=run,sample_id=prompt id,"
    "prompt_tokens=prompt tokens,output_tokens=tokens,decode_tokens_per_s=tok/s,ttft_ms=ttft (ms),score=right"
)


def rows(folder, sql):
    with Store.open(folder) as store:
        return store.query(sql)[1]


def test_rows_are_samples_and_what_a_run_is_known_by_makes_the_runs(cli, tmp_path):
    ended = cli("collate", tmp_path, "--import", TABLE, "--columns", COLUMNS)
    assert ended.code == 0, ended.err
    figures = "ttft_s, decode_tokens_per_s, tpot_s, accuracy"
    found = rows(tmp_path, f"SELECT backend, options->>'threads', round, {figures} FROM run_metrics ORDER BY run_id")
    # 64 tokens in 2 s and 32 in 2 s after 0.25 and 0.5 s; 64 in 1 s; 64 in 0.5 s
    assert found == [
        ("llama.cpp", "2", 0, 0.375, 24.0, 4 / 96, 0.5),
        ("vllm", None, 0, 0.0625, 128.0, 1 / 128, 1.0),
        ("llama.cpp", "2", 1, 0.125, 64.0, 1 / 64, 1.0),
    ]
    samples = rows(
        tmp_path, "SELECT sample_id, output_tokens, decode_tokens, decode_s FROM samples ORDER BY run_id, sample_id"
    )
    assert samples[:2] == [("p0", 65, 64, 2.0), ("p1", 33, 32, 2.0)]
    assert samples[3] == ("p1", None, None, None)  # its cells are empty
    assert len(set(rows(tmp_path, "SELECT cell_id FROM runs WHERE backend = 'llama.cpp'"))) == 1


def test_the_mapping_survives_in_the_folder_and_an_import_is_idempotent(tmp_path):
    intake = Intake([TABLE], columns=parse_columns([COLUMNS]))
    (copy,) = collate(tmp_path, all_plugins(), intake=intake).added
    first, *rest = (tmp_path / copy).read_text().split("\n", 1)
    assert json.loads(first.removeprefix("# decodebench-columns: "))["ttft_ms"] == "ttft (ms)"
    assert rest == [TABLE.read_text()]
    before = rows(tmp_path, "SELECT * EXCLUDE source_file FROM runs ORDER BY run_id")
    assert collate(tmp_path, all_plugins(), intake=intake).unchanged == (copy,)
    assert collate(tmp_path, all_plugins(), rebuild=True).added == (copy,)
    shutil.copy(tmp_path / copy, tmp_path / "mine.csv")  # a file that says it itself needs no option
    assert collate(tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "mine.csv"])).problems == ()
    assert rows(tmp_path / "o", "SELECT * EXCLUDE source_file FROM runs ORDER BY run_id") == before
    refused = collate(
        tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "mine.csv"], columns={"backend": "engine"})
    ).problems
    assert [problem.text for problem in refused] == [
        "the file says itself what its columns are; import it without --columns"
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("bakend=engine", "unknown target 'bakend'; did you mean 'backend'?"),
        ("decode_tokens_per_s=tok/s,backend=engine", "name the column of its tokens too, as decode_tokens or output_"),
        ("e2e_tokens_per_s=tok/s", "as output_tokens=COLUMN"),
        ("ttft_s=a,first_token_ms=b", "'ttft_s' and 'first_token_ms'"),
        ("backend", "'backend' is not target=column"),
        ("backend=a,backend=b", "'backend'"),
        ("option.=a", "unknown target 'option.'"),
        (",", "'' is not target=column"),
    ],
)
def test_a_mapping_that_no_file_could_have_is_bad_usage(columns, words):
    with pytest.raises(UsageError) as error:
        parse_columns([columns])
    assert words in str(error.value)


def test_bad_usage_of_the_option_copies_nothing(cli, tmp_path):
    cases = {
        ("--import", TABLE, "--columns", "bakend=engine"): (2, "did you mean 'backend'"),
        ("--import", TABLE, "--columns", "backend=engine", "--format", "tinygrad"): (2, "--columns"),
        ("--columns", "backend=engine"): (2, "--import PATH"),
        ("--import", TABLE, "--columns", "backend=engin"): (1, "unknown column 'engin'; did you mean 'engine'?"),
        ("--import", TABLE): (1, "say with --columns what its columns are"),
        ("--import", TABLE, "--format", "csv"): (1, "nothing says what the columns are; import it with --columns"),
    }
    for number, (flags, (code, words)) in enumerate(cases.items()):
        ended = cli("collate", tmp_path / str(number), *flags)
        assert ended.code == code and words in ended.err and "Traceback" not in ended.err, ended.err
        if "csv" not in flags:
            assert not list(tmp_path.glob(f"{number}/raw/**/*.csv"))


def test_a_column_may_have_a_comma_in_its_name(tmp_path):
    (tmp_path / "t.csv").write_text('"time, s";tokens\n2,5;4\n')
    columns = parse_columns(['"duration_s=time, s",output_tokens=tokens'])
    assert columns == {"duration_s": "time, s", "output_tokens": "tokens"}
    assert not collate(tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "t.csv"], columns=columns)).problems
    assert rows(tmp_path / "o", "SELECT duration_s, output_tokens FROM samples") == [(2.5, 4)]


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nquant;tok/s;n\nq8;12,5;8\nq4;25,25;8\n", "\ufeffsep=;\r\nquant;tok/s;n\r\nq8;12,5;8\r\nq4;25,25;8\r\n",
        "# made by hand\n\nquant,tok/s,n\nq8,12.5,8\n# again\nq4,25.25,8\n",
        "quant\ttok/s\tn\nq8\t12,5\t8\nq4\t25,25\t8\n",
        'quant,tok/s,n\nq8,"12,5",8\nq4,"25,25",8\n', "quant,tok/s,n,\nq8,12.5,8,\nq4,25.25,8,,\n",
    ],
)  # fmt: skip
def test_a_table_that_a_spreadsheet_of_another_country_saved_is_the_same(tmp_path, text):
    columns = {"quantisation": "quant", "decode_tokens_per_s": "tok/s", "decode_tokens": "n"}
    expected = None
    for encoding in ("utf-8", "utf-16", "utf-16-le"):
        (tmp_path / "t.csv").write_bytes(with_columns_line(text, columns).encode(encoding))
        found = [record.model_dump(exclude={"run_id"}) for record in ColumnsCsv().read(tmp_path / "t.csv")]
        assert [(s["decode_tokens"], s["decode_s"]) for s in found if "decode_s" in s] == [(8, 0.64), (8, 8 / 25.25)]
        assert [r["quantisation"] for r in found if "quantisation" in r] == ["q8", "q4"]
        assert found == (expected := expected or found)


def with_columns_line(text, columns):
    return f"# decodebench-columns: {json.dumps(columns)}\n{text}"


def test_what_is_not_there_is_empty_and_a_comma_of_thousands_is_no_decimal_one(tmp_path):
    path, columns = tmp_path / "t.csv", {"backend": "e", "duration_s": "s", "output_tokens": "n"}
    path.write_bytes("e,s,n\nmoteur é,N/A,4\nmoteur é,2.0,#N/A\n".encode("cp1252"))
    assert not collate(tmp_path / "o", all_plugins(), intake=Intake([path], columns=columns)).problems
    sql = "SELECT backend, duration_s, output_tokens FROM samples JOIN runs USING (run_id) ORDER BY index"
    assert rows(tmp_path / "o", sql) == [("moteur é", None, 4), ("moteur é", 2.0, None)]
    path.write_text(with_columns_line("e;s;n\na;1.234,5;4\na;12,5;4\na;1.234;4\n", columns))
    assert [one.duration_s for one in ColumnsCsv().read(path) if isinstance(one, Sample)] == [1234.5, 12.5, 1234.0]
    for text in ('e,s,n\na,"1,234",4\n', "e;s;n\na;1,234;4\na;1.5;4\n", "e;s;n\na;1,234;4\na;1.234;4\n"):
        path.write_text(with_columns_line(text, columns))
        with pytest.raises(RawLogError, match=r"t\.csv:3: field 's'"):
            list(ColumnsCsv().read(path))


def test_rates_alone_need_a_number_of_tokens_that_all_rows_have(tmp_path):
    columns = "backend==llama-cpp,model=label,option.depth=depth,decode_tokens_per_s=tg,decode_tokens==128"
    (tmp_path / "t.csv").write_text("label,depth,tg\n27B,0,36.633473\n27B,4096,35.794946\n")
    intake = Intake([tmp_path / "t.csv"], columns=parse_columns([columns]))
    assert not collate(tmp_path / "o", all_plugins(), intake=intake).problems
    found = rows(tmp_path / "o", "SELECT backend, model, decode_tokens_per_s FROM run_metrics ORDER BY 3")
    assert [row[:2] for row in found] == [("llama-cpp", "27B")] * 2
    assert [row[2] for row in found] == pytest.approx([35.794946, 36.633473])
    with refused("bad-value", "decode_tokens==128"):
        parse_columns(["decode_tokens_per_s=tg"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("tokens,s\n4,fast\n", ":3: field 's': Input should be a valid number"),
        ("tokens,s\n4,-1\n", ":3: field 's': Input should be greater than or equal to 0"),
        ("tokens,s\n4,nan\n", ":3: field 's'"),
        ("tokens,s\n4.5,1\n", ":3: field 'tokens': Input should be a valid integer"),
        ("tokens,s\n4\n", ":3: field 'line': 1 cells, but 2 columns"),
        ('tokens,s\n4,"1\n', "field 'line': no CSV"),
        ("tokens,s,s\n4,1,2\n", ":2: field 's': several columns have this name"),
        ("tokens,s\n", "no row below the header"),
    ],
)
def test_a_bad_cell_is_named_by_line_and_column(tmp_path, body, words):
    path = tmp_path / "t.csv"
    path.write_text('# decodebench-columns: {"output_tokens": "tokens", "duration_s": "s"}\n' + body)
    with pytest.raises(RawLogError) as error:
        list(ColumnsCsv().read(path))
    assert words in str(error.value)


def test_a_rate_without_its_tokens_in_a_row_names_their_column(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('# decodebench-columns: {"output_tokens": "n", "tpot_ms": "t"}\nn,t\n5,10\n,10\n')
    with pytest.raises(RawLogError, match=r"t\.csv:4: field 'output_tokens': empty, but the row has a rate"):
        list(ColumnsCsv().read(path))


@pytest.mark.parametrize("line", ["", " nothing", " []", ' {"backend": 1}', " {}", ' {"no": "engine"}', " [" * 5000])
def test_a_damaged_first_line_is_one_error(tmp_path, line):
    path = tmp_path / "t.csv"
    path.write_text(f"# decodebench-columns:{line}\nengine\na\n")
    assert ColumnsCsv().matches(path, path.read_bytes())
    with pytest.raises(RawLogError, match=r"t\.csv:1: field 'decodebench-columns'"):
        list(ColumnsCsv().read(path))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(["1", "0.5", "ok"])
tables = st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(texts, min_size=n, max_size=n), min_size=1, max_size=4))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.lists(st.sampled_from(TARGETS), min_size=1, max_size=4, unique=True))
def test_any_table_is_read_or_refused(tmp_path, table, targets):
    columns = dict(zip(targets, table[0], strict=False))
    path = tmp_path / "t.csv"
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in table]
    path.write_bytes((f"# decodebench-columns: {json.dumps(columns)}\n" + "\n".join(lines)).encode())
    try:
        records = list(ColumnsCsv().read(path))
    except RawLogError as error:
        assert str(error).startswith(str(path))
    else:
        assert isinstance(records[0], Run) and (len(records) > 1 or records[0].totals or all(map(is_of_run, columns)))

"""Packed logs, `collate --import --dry-run` and `audit`: what is in an archive is read, and nothing is left behind."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from decodebench.collate.collate import collate
from decodebench.collate.parsers import packed
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from ..at_night import a_few

DATA = Path(__file__).parents[1] / "data"
TABLE = DATA / "public" / "bench-table-repacked-row.md"
STACKS = sorted((DATA / "llama_cpp" / "three_stacks").glob("*.log"))


def imported(folder, *paths, **intake):
    report = collate(folder, all_plugins(), intake=Intake(paths, **intake))
    with Store.open(folder) as store:
        rows = store.query("SELECT model, prefill_tokens_per_s FROM run_metrics ORDER BY source_file, run_id")[1]
        return rows, [problem.text for problem in report.problems]


def pack(folder, kind):
    data = TABLE.read_bytes()
    path = folder / f"{TABLE.name}.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"a/b/{TABLE.name}", data)
            archive.writestr("__MACOSX/._x", b"x")
    elif kind.startswith("t"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in ((f"a/b/{TABLE.name}", data), (f"a/b/._{TABLE.name}", b"x")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        path = path.with_name(f"logs.{kind}")
        path.write_bytes({"tar": bytes, "tgz": gzip.compress, "tar.zst": zstandard.compress}[kind](buffer.getvalue()))
    else:
        path.write_bytes(gzip.compress(data) if kind == "gz" else zstandard.compress(data))
    return path


@pytest.mark.parametrize("kind", a_few(3, ["gz", "zst", "zip", "tar", "tgz", "tar.zst"]))
def test_a_packed_log_is_the_log(tmp_path, kind):
    plain = imported(tmp_path / "plain", TABLE)
    assert len(plain[0]) == 2 and plain[1] == []
    assert imported(tmp_path / "packed", pack(tmp_path, kind)) == plain
    (copy,) = (tmp_path / "packed").glob("raw/imported/*/*/*/*")
    assert (copy.name, copy.read_bytes()) == (TABLE.name, TABLE.read_bytes())
    assert imported(tmp_path / "both", TABLE, pack(tmp_path, kind)) == plain  # counted once


def test_a_zip_of_folders_of_packed_logs_has_labels_by_folder(tmp_path):
    path = tmp_path / "results.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for at, log in enumerate(STACKS):
            archive.writestr(f"stack{at}/{log.name}.gz", gzip.compress(log.read_bytes()))
        archive.writestr("README.md", "# Results\n")
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([path], labels={"stack": "{folder}"}))
    assert [(problem.file, problem.text[:9]) for problem in report.problems] == [(f"{path}/README.md", "not a log")]
    with Store.open(tmp_path / "o") as store:
        found = store.query("SELECT DISTINCT conditions->>'stack' FROM runs ORDER BY 1")[1]
    assert found == [(f"stack{at}",) for at in range(len(STACKS))]


def test_an_archive_that_would_fill_the_disk_or_is_damaged_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_FREE_BYTES", 10**6)
    monkeypatch.setattr(packed, "_MOST_FILES", 3)
    whole = gzip.compress(TABLE.read_bytes())
    cases = {
        "zeros.md.gz": (gzip.compress(b"0" * 3 * 10**6), "more than 1 MB"),
        "zeros.md.zst": (zstandard.compress(b"0" * 3 * 10**6), "more than 1 MB"),
        "cut.md.gz": (whole[:-20], "cannot be unpacked"),
        "bad.md.gz": (whole[:30] + b"\0\0\0" + whole[33:], "cannot be unpacked"),
        "bad.md.zst": (zstandard.compress(TABLE.read_bytes())[:-9], "cannot be unpacked"),
        "bad.zip": (b"PK\x03\x04" + b"\0" * 50, "cannot be unpacked"),
        "bad.tar": (b"\0" * 257 + b"ustar" + b"\1" * 300, "cannot be unpacked"),
        "x.log.xz": (b"\xfd7zXZ\0\0\4", "packed with xz: unpack it first"),
    }
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for at in range(5):
            archive.writestr(f"{at}.md", TABLE.read_bytes() + bytes([65 + at]))
    for name, (data, _) in cases.items():
        (tmp_path / name).write_bytes(data)
    for name, words in {**{name: words for name, (_, words) in cases.items()}, "many.zip": "more than 3 files"}.items():
        rows, problems = imported(tmp_path / "o" / name, tmp_path / name)
        assert (rows, len(problems)) == ([], 1) and words in problems[0] and "\n" not in problems[0], (name, problems)


def test_a_dry_run_lists_each_file_and_writes_nothing(cli, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "README.md").write_text("# Results\n")
    (folder / "table.md").write_bytes(TABLE.read_bytes())
    (folder / "again.md").write_bytes(TABLE.read_bytes())
    (folder / "cut.json").write_text((DATA / "llama_cpp" / "llama_bench.json").read_text()[:9000])
    ended = cli("collate", tmp_path / "out", "--import", folder, "--dry-run", "--json")
    assert ended.code == 0 and not (tmp_path / "out").exists(), ended.err
    found = {Path(one["file"]).name: one for one in json.loads(ended.out)}
    assert sorted(found) == ["README.md", "again.md", "cut.json", "table.md"]
    assert found["README.md"]["format"] is None and "not a log" in found["README.md"]["left_out"][0]
    table, twin = found["again.md"], found["table.md"]
    assert (table["format"], table["runs"], table["failed"], table["samples"]) == ("llama-bench", 2, 0, 2)
    assert len(table["left_out"]) == 1 and "line 3: field 'test'" in table["left_out"][0]
    assert (twin["format"], twin["runs"]) == ("llama-bench", 0) and "counted once" in twin["left_out"][0]
    cut = found["cut.json"]
    assert cut["versions"] == ["b1 0c1e570"] and cut["runs"] > 0 and cut["failed"] == 1 and "cut" in cut["left_out"][0]
    printed = cli("collate", tmp_path / "out", "--import", folder, "--dry-run")
    assert printed.code == 0 and "llama-bench b1 0c1e570" in printed.out and "refused" in printed.out
    assert cli("collate", tmp_path, "--dry-run").code == 2


def test_an_audit_finds_what_was_pooled_and_writes_nothing(cli, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    ended = cli("audit", STACKS[0].parent, "--json")
    assert ended.code == 0, ended.err
    audit = json.loads(ended.out)
    assert [finding["severity"] for finding in audit["findings"] if finding["check"] == "pooled-runs"] == ["error"]
    assert {file["format"] for file in audit["files"]} == {"llama-bench"}
    assert sorted(tmp_path.rglob("*")) == before
    nothing = tmp_path / "notes.md"
    nothing.write_text("# Notes\n")
    refused = cli("audit", nothing)
    assert refused.code == 2 and "nothing to audit" in refused.err and "notes.md" in refused.err

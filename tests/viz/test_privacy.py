"""What page, slides and log entry leave out unless asked for: hosts, users and their folders."""

from __future__ import annotations

import base64
import gzip
import re

import pytest

from decodebench.core.api.results import open as open_results
from decodebench.viz.privacy import Names

from ..collate.conftest import ENVIRONMENT, Logs

OPTIONS = {
    "server": "gpubox02:50051",
    "urls": "http://serves1.example.org:8000/v1,https://carol:pw@relay2.example.net/v1",
    "nodes": ["gpubox03", "gpubox04.lab"],
    "nested": {"peer": "10.1.2.3:9000"},
    "template": "/lustre/projects/dave/chat.jinja",
    "draft": "/mnt/Erin Smith/models/draft",
}
NAMES = (
    *("alice", "gpubox", "example.org", "serves1", "relay2", "carol", "10.1.2.3", "dave", "Erin", "scratch"),
    *("corp", "lustre", "Smith"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    logs = Logs(tmp_path_factory.mktemp("names"))
    environment = ENVIRONMENT | {"hostname": "gpubox01.corp.example.com", "username": "alice"}
    for cell, model in (("a", "/scratch/alice/qwen"), ("b", "/scratch/alice/llama")):
        for number in range(2):
            logs.write(cell, number, environment=environment, model=model, options=OPTIONS, order=None,
                       notes=["gpubox01 was busy; alice_tmp kept at /var/tmp/alice-7/x.log"])  # fmt: skip
    return logs.folder


def everything_in(cli, folder, *flags):
    assert cli("report", folder, "--html", "--slides", *flags).code == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    samples = gzip.decompress(base64.b64decode(re.search(r'id="sample-data">(.*?)</script>', page)[1])).decode()
    deck = (folder / "slides" / "deck.json").read_text(encoding="utf-8")
    return page + samples + deck + cli("report", folder, "--log-entry", *flags).out


def test_no_name_is_left_in_page_slides_and_log_entry(cli, folder):
    held = everything_in(cli, folder)
    assert {name: held[held.index(name) - 60 :][:120] for name in NAMES if name in held} == {}
    assert "/qwen" in held and "host-2" in held and "user-1" in held


def test_names_are_kept_on_request(cli, folder):
    held = cli("report", folder, "--log-entry", "--with-host").out
    assert "/scratch/alice/qwen" in held and "gpubox02:50051" in held


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/scratch/bob/qwen", "/folder-1/qwen"),
        ("model='/data/x/y.gguf', 3 tokens/s", "model='/folder-1/y.gguf', 3 tokens/s"),
        ("cache at /scratch/bob", "cache at /folder-1"),
        (r"D:\models\bob\y.gguf", "/folder-1/y.gguf"),
        ("/home/bob/m/x.gguf", "~/m/x.gguf"),
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("http://user:secret@box:80/v1", "http://host-3:80/v1"),
        ("NODE7 and node7.lab.example.com", "host-2 and host-2"),
        ("on ab, about abc", "on host-1, about abc"),
        ("1/4 of 10 tokens/s and/or tiny:target", "1/4 of 10 tokens/s and/or tiny:target"),
        ("bob, bob_2, bobsled", "user-1, user-1_2, bobsled"),
        ("the user of root", "the user of root"),
    ],
)
def test_what_a_text_shows(text, shown):
    names = Names(["node7.lab.example.com", "ab"], servers=["box"], users=["bob", "user", "root"])
    assert names.hide(text) == shown
    assert names.hide(shown) == shown


@pytest.mark.nightly
def test_a_host_may_be_called_like_a_word_of_the_page(tmp_path):
    logs = Logs(tmp_path)
    hosts = ("one", "not", "decode", "faster", "metric", "baseline")
    for number, host in enumerate(hosts):
        for again in range(2):
            logs.write(f"a{number}", again, order=None, environment=ENVIRONMENT | {"hostname": host}, backend="engine")
    with open_results(tmp_path) as results:
        page = results.report(to=tmp_path / "page.html").read_text(encoding="utf-8")
        results.slides(to=tmp_path / "page.pdf")
    assert [f"on host-{number}" in page for number in range(1, 7)] == [True] * 6
    assert [host for host in hosts if f" on {host}<" in page] == []


def test_folders_stay_apart():
    names = Names()
    assert names.hide(["/a/x/m", "/a/y/m", "/a/x/n"]) == ["/folder-1/m", "/folder-2/m", "/folder-1/n"]

"""Third-party plugins: each is loaded on its own, a bad one harms nothing, and every name leads somewhere."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import decodebench
from decodebench.core.contract import hookspecs
from decodebench.core.host.registry import Registry
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from ..plugin_folder import decoder, distribution

HOOKS = ("backends", "models", "tasks", "figures", "log_parsers", "exporters", "sweeps", "findings", "commands")
SMALL = ["-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 1, "--rounds", 1, "--max-new-tokens", 4]


def listed(cli, path, *arguments, **variables):
    environment = {"PYTHONPATH": str(path), **variables}
    return {entry["name"]: entry for entry in cli(*arguments, "plugins", "--json", env=environment).json}


def rows(folder, sql):
    with Store.open(folder) as store:
        return store.query(sql)[1]


def test_one_that_raises_halfway_leaves_nothing_behind(cli, tmp_path):
    half = """
from decodebench import ModelSource, hookimpl
@hookimpl
def decodebench_models():
    return [ModelSource("half:model", "goes with its plugin")]
@hookimpl
def decodebench_tasks():
    raise RuntimeError("no tasks today")
"""
    distribution(tmp_path, "half", "1", half=half)
    assert listed(cli, tmp_path)["half"]["reason"] == f"RuntimeError: no tasks today ({tmp_path / 'half.py'}:8)"
    models = cli("models", "--json", env={"PYTHONPATH": str(tmp_path)}).json
    assert "half:model" not in [entry["name"] for entry in models]


BAD = [
    ("import sys; sys.exit(4)", "SystemExit: 4"),
    ("raise ImportError('no engine')", "ImportError: no engine"),
    ("syntax error", "SyntaxError"),
    ("x = 1", "implements no decodebench hook"),
    ("decodebench_api = '>=4'\nopen('/nonexistent')", "asks for plugin API >=4"),
    ("decodebench_api: str = 'newest'\nopen('/nonexistent')", "decodebench_api = 'newest'"),
    (decoder("bad").replace("return [Decoder]", "return [Decoder()]"), "not a subclass of Backend"),
    (decoder("bad").replace("return [Decoder]", "return None"), "TypeError"),
    (decoder("bad").replace("    def load", "    def lode"), "Decoder does not implement load"),
    (decoder("bad").replace('[Quantisation("none", 32.0, "no weights")]', "[]"), "at least one Quantisation"),
    (decoder("bad").replace("32.0", "0"), "quantisation 'none' has 0 bits"),
    (
        decoder("bad").replace("    def load", "    @classmethod\n    def why_inexact(cls, q, o): ...\n\n    def load"),
        "Decoder.why_inexact is of an earlier plugin API: give Preflight.inexact",
    ),
    (
        decoder("bad").replace("    def load", "    threads_option = 'n'\n\n    def load"),
        "threads_option names no option",
    ),
    (
        decoder("bad").replace("    def load", "    block_size_choosers = frozenset({'adapts'})\n\n    def load"),
        "block_size_choosers names no option: 'adapts'",
    ),
    (decoder("bad two"), "backend name 'bad two'"),
    (decoder("bad").replace('"autoregressive"', "None"), "Decoder does not state 'kind'"),
    (decoder("bad").replace("[Decoder]", "[Decoder, Decoder]"), "already provided by plugin 'bad"),
]


@pytest.fixture(scope="module")
def many_bad(cli_for, tmp_path_factory):
    """Bad plugins beside a good one, as `plugins` and `backends` show them."""
    folder = tmp_path_factory.mktemp("bad")
    distribution(folder, "bad-ones", "1", **{f"bad{number}": code for number, (code, _) in enumerate(BAD)})
    distribution(folder, "good-one", "1", good=decoder("good"))
    cli = cli_for(folder)
    return listed(cli, folder), cli("backends", env={"PYTHONPATH": str(folder)})


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_one_is_listed_with_its_reason(many_bad, number):
    found, backends = many_bad
    plugin = found[f"bad{number}"]
    assert (plugin["status"], plugin["provides"]) == ("failed", {})
    assert BAD[number][1] in plugin["reason"]
    assert f"plugin 'bad{number}' failed to load" in backends.err


def test_bad_ones_harm_no_other(many_bad):
    found, backends = many_bad
    assert found["good"]["status"] == "ok"
    assert backends.code == 0
    assert "good" in backends.out


def test_a_deprecated_hook_is_noticed(tmp_path, monkeypatch):
    def decodebench_sweeps():
        """Return nothing any more."""

    notice = DeprecationWarning("decodebench_sweeps goes with API 2")
    deprecated = hookspecs.hookspec(warn_on_impl=notice)(decodebench_sweeps)
    monkeypatch.setattr(hookspecs, "decodebench_sweeps", deprecated)
    file = tmp_path / "old.py"
    file.write_text("from decodebench import hookimpl\n@hookimpl\ndef decodebench_sweeps():\n    return []\n")
    (old,) = Registry(only=["old"], files=[file]).plugins
    assert (old.status, old.notices) == ("ok", ("decodebench_sweeps goes with API 2",))


def test_what_plugins_print_does_not_spoil_json(cli, tmp_path):
    distribution(tmp_path, "loud", "1", loud="print('hello')\n" + decoder("loud"))
    assert listed(cli, tmp_path)["loud"]["status"] == "ok"


RAISES = "raise OSError('no driver')"


def test_a_probe_that_raises_is_a_reason(cli, tmp_path):
    code = decoder("odd").replace('return Availability(True, version="7")', RAISES)
    distribution(tmp_path, "odd", "1", odd=code)
    found = cli("backends", "--json", env={"PYTHONPATH": str(tmp_path)}).json
    (odd,) = [entry for entry in found if entry["name"] == "odd"]
    place = f"{tmp_path / 'odd.py'}:{code.splitlines().index('        ' + RAISES) + 1}"
    assert (odd["available"], odd["reason"]) == (False, f"its probe failed: OSError: no driver ({place})")


@pytest.mark.nightly
def test_one_name_of_two_distributions_is_told_apart(cli, tmp_path):
    distribution(tmp_path, "alpha", "1", twin__alpha_twin=decoder("twin", "1.0"))
    distribution(tmp_path, "beta", "2", twin__beta_twin=decoder("twin", "2.0"))
    environment = {"PYTHONPATH": str(tmp_path)}
    backends = cli("backends", env=environment)
    assert "backend 'twin' is already provided by plugin 'twin'; this one is 'beta:twin'" in backends.err
    assert "beta:twin" in backends.out
    assert listed(cli, tmp_path)["beta:twin"]["provides"] == {"decodebench_backends": ["beta:twin"]}

    both = ["run", "-b", "alpha:twin", "-b", "beta:twin", *SMALL, "-o", tmp_path / "o"]
    ended = cli(*both, "--json", env=environment)
    assert ended.code == 0, ended.err
    assert rows(tmp_path / "o", "SELECT backend, backend_version, plugin FROM runs ORDER BY 1") == [
        ("beta:twin", "2.0", "beta 2"),
        ("twin", "1.0", "alpha 1"),
    ]


def test_only_the_chosen_ones_are_loaded(cli, tmp_path):
    marker = tmp_path / "ran"
    distribution(tmp_path, "one", "1", first=decoder("first"))
    distribution(tmp_path, "two", "1", second=f"open({str(marker)!r}, 'w')\n" + decoder("second"))
    found = listed(cli, tmp_path, DECODEBENCH_LOAD_PLUGINS="one, reference")
    assert [name for name, entry in found.items() if entry["status"] == "ok"] == [
        "local", "reference", "first",
    ]  # fmt: skip
    assert found["second"]["reason"] == "not named in DECODEBENCH_LOAD_PLUGINS"
    assert not marker.exists()
    ended = cli("backends", env={"PYTHONPATH": str(tmp_path), "DECODEBENCH_LOAD_PLUGINS": "frst"})
    assert ended.code == 2
    assert "DECODEBENCH_LOAD_PLUGINS: unknown plugin 'frst'; did you mean 'first'?" in ended.err


def test_a_local_file_is_a_plugin_for_once(cli, tmp_path):
    file = tmp_path / "my_decoder.py"
    file.write_text(decoder("mine"))
    run = ["run", "-b", "mine", *SMALL, "-o", "o", "--json"]
    ended = cli("--plugin", "my_decoder.py", *run, cwd=tmp_path)
    assert ended.code == 0, ended.err
    columns = "backend, plugin, plugin_revision, task_plugin"
    ((*names, revision, task),) = rows(tmp_path / "o", f"SELECT {columns} FROM runs")
    assert names == ["mine", "my_decoder.py"]
    assert revision == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    assert task == f"decodebench {version('decodebench')}"
    assert "unknown backend 'mine'" in cli(*run, cwd=tmp_path).err


@pytest.mark.nightly
def test_files_of_the_config_are_always_loaded(cli, tmp_path):
    (tmp_path / "mine.py").write_text(decoder("mine"))
    (tmp_path / "bad.py").write_text("\n\nraise ValueError('bad weather')\n")
    config = tmp_path / "config.toml"
    config.write_text('[plugins]\nfiles = ["mine.py", "bad.py", "gone.py"]\n')
    environment = {"DECODEBENCH_CONFIG": str(config)}
    found = {entry["name"]: entry for entry in cli("plugins", "--json", env=environment).json}
    assert found["mine"]["provides"] == {"decodebench_backends": ["mine"]}
    assert found["bad"]["reason"] == f"ValueError: bad weather ({tmp_path / 'bad.py'}:3)"
    assert found["gone"]["status"] == "failed" and str(tmp_path / "gone.py") in found["gone"]["reason"]
    run = cli("run", "-b", "mine", *SMALL, "-o", "o", "--json", cwd=tmp_path, env=environment)
    assert run.code == 0, run.err
    without = cli("plugins", "--json", env={**environment, "DECODEBENCH_LOAD_PLUGINS": "reference"}).json
    assert {entry["name"]: entry["status"] for entry in without}["mine"] == "disabled"
    config.write_text('[plugins]\nfiles = "mine.py"\n')
    refused = cli("backends", env=environment)
    assert refused.code == 2 and "must be a list of paths" in refused.err and "Traceback" not in refused.err


AT_FAULT = """
from decodebench import Doubt, Figure, FindingCheck, hookimpl
from decodebench.core.contract.finding import Finding

def helper(values):
    return values[7]

def draw(axes, rows):
    helper([])

def check(cells):
    yield helper({})

@hookimpl
def decodebench_figures():
    return [Figure(id="faulty", title="t", sql="SELECT run_id FROM runs WHERE experiment = $experiment", draw=draw)]

@hookimpl
def decodebench_findings():
    return [FindingCheck("faulty-check", "fails", check)]
"""


@pytest.mark.nightly
def test_what_an_authors_code_raises_names_its_line(cli, tmp_path):
    file = tmp_path / "at_fault.py"
    file.write_text(decoder("quick") + AT_FAULT)
    line = file.read_text().splitlines().index("    return values[7]") + 1
    assert cli("--plugin", file, "run", "-b", "quick", *SMALL, "-o", tmp_path / "o").code == 0
    drawn = cli("--plugin", file, "plot", tmp_path / "o", "--figure", "faulty")
    assert drawn.code == 2 and f"IndexError: list index out of range ({file}:{line})" in drawn.err
    assert "'faulty'" in drawn.err and "Traceback" not in drawn.err
    found = cli("--plugin", file, "findings", tmp_path / "o", "--json").json["findings"]
    (failed,) = [finding for finding in found if finding["check"] == "faulty-check"]
    assert failed["severity"] == "error" and f"KeyError: 7 ({file}:{line})" in failed["text"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "does not exist"), ("import nothing_there", "--plugin"), ("x = 1", "no decodebench hook")],
)
def test_a_local_file_that_fails_is_refused(cli, tmp_path, code, words):
    if code is not None:
        (tmp_path / "bad.py").write_text(code)
    ended = cli("--plugin", tmp_path / "bad.py", "backends")
    assert ended.code == 2
    assert words in ended.err and "Traceback" not in ended.err


def test_calls_into_plugins_are_traced_on_request(cli, tmp_path):
    distribution(tmp_path, "traced", "3", steps=decoder("steps"))
    ended = cli("--trace-plugins", "backends", "--json", env={"PYTHONPATH": str(tmp_path)})
    assert json.loads(ended.out)
    lines = [line.split("ms  ")[1] for line in ended.err.splitlines() if "steps" in line]
    assert lines == [
        "host -> traced:steps 3  import",
        "host -> traced:steps 3  decodebench_backends",
        "host -> backend steps  probe",
    ]


def test_commands_of_plugins_come_and_go_with_them(cli, tmp_path):
    code = """
import click
from decodebench import hookimpl
from decodebench.core.contract.command import Command
@click.command()
def hello():
    click.echo("hello")
@hookimpl
def decodebench_commands():
    return [Command("hello", "Says hello.", lambda: hello)]
"""
    (tmp_path / "empty").mkdir()
    distribution(tmp_path / "site", "greeter", "1", greeter=code)
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    for variables, is_there in [
        (environment, True),
        ({**environment, "DECODEBENCH_DISABLE_PLUGINS": "greeter"}, False),
    ] * 2:
        assert ("Says hello." in cli("--help", env=variables).out) is is_there
        assert (cli("hello", env=variables).code == 0) is is_there


@pytest.fixture(scope="module")
def thirty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thirty")
    for number in range(30):
        distribution(folder, f"many-{number}", "1", **{f"many{number}": decoder(f"many{number}")})
    return folder


def test_thirty_plugins_cost_the_help_nothing(cli, thirty):
    """The help opens no file of theirs."""
    environment = {**cli.environment, "PYTHONPATH": str(thirty)}
    code = f"""
import sys
opened = []
sys.addaudithook(lambda event, details: opened.append(str(details[0])) if event in ("open", "os.listdir") else None)
from decodebench.core.cli import main
main._run()
print([name for name in opened if {str(thirty)!r} in name and name != {str(thirty)!r}], file=sys.stderr)
"""
    cli("--help", env={"PYTHONPATH": str(thirty)})
    ended = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, env=environment, check=True
    )
    assert ended.stderr.strip() == "[]"


@pytest.mark.nightly
def test_thirty_plugins_cost_a_listing_little(cli, thirty, tmp_path):
    (tmp_path / "none").mkdir()
    seconds = {str(thirty): [], str(tmp_path / "none"): []}
    for _ in range(4):
        for path, times in seconds.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            found = cli.cold("backends", "--json", env={"PYTHONPATH": path}).json
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            assert sum(entry["name"].startswith("many") for entry in found) in (0, 30)
    with_them, without = (min(times[1:]) for times in seconds.values())  # CPU time: whatever else the machine does
    assert (with_them - without) / 30 < 0.015


def test_core_names_no_plugin():
    """Neither the built-in ones nor anybody else's: what there is comes from entry points alone."""
    core = Path(decodebench.__file__).parent / "core"
    points = [point for point in entry_points(group="decodebench") if ".plugins." in point.value]
    names = {point.name for point in points} | {point.value.rpartition(".")[2] for point in points}
    # And words: what others are compared with, a container of weights as gguf is, and a table of the config file.
    names -= {"reference", "mlc", "servers", "tasks"}
    assert len(names) > 8
    named = re.compile("|".join(rf"[\"']{name}[\"']|plugins\.{name}\b" for name in names))
    for file in sorted(core.rglob("*.py")):
        code = re.sub(r'"""(.*?)"""|#.*', "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        code = re.sub(r"(find_spec|version)\([^)]*\)", "", code)  # a library that a plugin has its name from
        assert not named.search(code), f"{file}: {named.search(code)}"


def test_a_hook_asked_for_alone_finds_the_same(tmp_path, monkeypatch):
    """In whatever order hooks are asked for, names and clashes are the same; a source may hide what it has."""
    parts = """
from decodebench import FindingCheck, hookimpl
@hookimpl
def decodebench_findings():
    return [FindingCheck("hidden-check", "finds nothing", lambda cells: ())]
"""
    (tmp_path / "hidden_parts.py").write_text(parts)
    hidden, alien = "from hidden_parts import *", decoder("llama-cpp")
    distribution(tmp_path, "hiding", "1", hidden=hidden, alien=alien)
    monkeypatch.syspath_prepend(tmp_path)
    whole = all_plugins()
    _ = whole.plugins  # loads them all
    assert "hidden-check" in whole.findings and "hiding:llama-cpp" in whole.backends
    clashes = {plugin.address: plugin.clashes for plugin in whole.plugins if plugin.clashes}
    assert set(clashes) == {"hiding:alien"}
    for first in HOOKS:
        registry = all_plugins()
        for hook in (first, *reversed(HOOKS)):
            assert list(getattr(registry, hook)) == list(getattr(whole, hook))
        assert {plugin.address: plugin.clashes for plugin in registry.plugins if plugin.clashes} == clashes


@pytest.mark.parametrize("hook", ["findings", "sweeps", "backends"])
def test_a_hook_asked_for_alone_imports_no_plugin_that_cannot_have_it(hook):
    code = (
        "import sys; from decodebench.core.isolation.plugins import all_plugins\n"
        "list(getattr(all_plugins(), sys.argv[1])); print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code, hook], capture_output=True, text=True, check=True)
    ours = [plugin for plugin in all_plugins().plugins if plugin.distribution == "decodebench"]
    having = {plugin.module for plugin in ours if f"decodebench_{hook}" in plugin.hooks}
    assert having
    assert {plugin.module for plugin in ours} & set(ended.stdout.split()) == having

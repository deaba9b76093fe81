"""A backend in an environment of its own, whose engine is of a version that the host's environment cannot have."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from decodebench.core.isolation.worker_part import MODULES
from decodebench.core.records.store import Store

from .plugin_folder import distribution, wheel, wheels_of_installed

SMALL = ["-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--rounds", 1, "--max-new-tokens", 6]

ALIEN = """
from pydantic import Field

from decodebench import Backend, BackendOptions, ModelFacts, Preflight, Quantisation, Requires, Step, hookimpl


class Options(BackendOptions):
    n: int = Field(1, ge=1, le=4, description="a number")
    idle: int = Field(0, description="without effect while n is 1")
    several: tuple[int, ...] = Field((1, 2), description="a list")


class Alien(Backend[Options]):
    name, summary, kind = "alien", "repeats the last token with an engine", "autoregressive"
    first_step_is_prefill = True
    requires = Requires(("enginelib",), fix="pip install enginelib")

    @classmethod
    def quantisations(cls):
        return [Quantisation("none", 32.0, "no weights")]

    @classmethod
    def devices(cls):
        import enginelib
        return (f"engine:{enginelib.VERSION}", "cpu")

    @classmethod
    def preflight(cls, cell):
        n = cell.options.n
        return Preflight(
            errors=(f"n = 3 does not go with {cell.model.name}",) if n == 3 else (),
            notes=("n will be 2",) if n == 4 else (),
            inert={"idle": "with n = 1"} if n == 1 else {},
        )

    def load(self, model, device, options):
        import enginelib
        return ModelFacts(0, 0, context_length=2048, vocabulary_size=512, settings={"engine": enginelib.VERSION})

    def generate(self, batch):
        for request in batch:
            for _ in range(request.max_new_tokens):
                yield Step([request.prompt_ids[-1]], forwards=1)
                if request.is_stop(request.prompt_ids[-1]):
                    break


@hookimpl
def decodebench_backends():
    return [Alien]
"""


def engine(version: str) -> str:
    return f"VERSION = {version!r}\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Wheels of what workers need, and of the engine and its plugin."""
    folder = tmp_path_factory.mktemp("index")
    wheels_of_installed(folder, *MODULES, "nvidia-ml-py")
    wheel(folder, "enginelib", "2.0", group="other", enginelib=engine("2.0"))
    wheel(folder, "furtherlib", "3", group="other", furtherlib=engine("3"))
    own = "decodebench[gpu] @ file:///where/plugins-new/found/it"
    further = (
        "furtherlib; extra == 'further'",
        "nothing-there; extra == 'other'",
        "nothing-there; python_version < '3'",
    )
    wheel(folder, "alien-plugin", "2.1", own, "enginelib==2.0", *further, alien=ALIEN)
    return folder


@pytest.fixture(scope="module")
def cli(cli_for, tmp_path_factory, index):
    """A host that has the plugin with an old engine, and the same plugin with the new one in its own environment."""
    home = tmp_path_factory.mktemp("home")
    site = home / "site"
    distribution(site, "enginelib", "1.0", group="other", enginelib=engine("1.0"))
    distribution(site, "alien-plugin", "1.1", alien=ALIEN)
    made = cli_for(home)
    made.environment |= {"PYTHONPATH": str(site), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    made.home = home
    installed = made("plugins", "install", "--isolated", "alien", "alien-plugin[further]", "--json")
    assert installed.code == 0, installed.out + installed.err
    made.python = installed.json["python"]
    made.environment["DECODEBENCH_LOAD_PLUGINS"] = "alien-plugin,reference"  # the other engines take their time
    return made


@pytest.mark.nightly
def test_its_environment_holds_a_worker_and_nothing_of_the_host(cli):
    code = "import importlib.util, sys; print([m for m in sys.argv[1:] if importlib.util.find_spec(m)])"
    heavy = ["duckdb", "matplotlib", "scipy", "numpy", "torch", "pytest", "decodebench"]
    asked_for = ["enginelib", "furtherlib", "pynvml"]  # by the plugin, its extra, and decodebench's extra
    ended = subprocess.run(
        [cli.python, "-c", code, *heavy, *asked_for], capture_output=True, text=True, check=True, cwd="/"
    )
    assert ended.stdout.strip() == str(asked_for)


@pytest.mark.nightly
def test_two_environments_are_compared(cli, tmp_path):
    both = ["run", "-b", "alien", "-b", "alien-plugin:alien", *SMALL, "-o", tmp_path / "o", "--json"]
    ended = cli(*both)
    assert ended.code == 0, ended.err
    first, second = ended.json["comparison"]["rows"]
    assert (first["cell"]["backend"], second["cell"]["backend"]) == ("alien", "alien-plugin:alien")
    assert second["parity"]["verdict"] == "identical"
    sql = """
        SELECT backend, backend_version, plugin, settings->>'engine', (environment->'packages'->>'numpy') IS NULL
        FROM runs ORDER BY backend
    """
    with Store.open(tmp_path / "o") as store:
        assert store.query(sql)[1] == [
            ("alien", "2.0", "alien-plugin 2.1", "2.0", True),
            ("alien-plugin:alien", "1.0", "alien-plugin 1.1", "1.0", False),
        ]


def test_it_is_listed_as_it_is_there(cli):
    listed = {entry["name"]: entry for entry in cli("backends", "--devices", "--json").json}
    assert listed["alien"]["devices"] == ["engine:2.0", "cpu"]
    assert listed["alien-plugin:alien"]["devices"] == ["engine:1.0", "cpu"]
    assert listed["alien"]["options"] == listed["alien-plugin:alien"]["options"]
    assert str(cli.python) in cli("plugins", "show", "alien", env={"COLUMNS": "250"}).out


def test_listing_it_again_starts_no_process_there(cli, tmp_path):
    cli("backends")
    code = """
import sys
started = []
sys.addaudithook(lambda event, details: started.append(details[0]) if event == "subprocess.Popen" else None)
from decodebench.core.cli import main
main._run()
print(started, file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, "backends", "--json"],
        capture_output=True,
        text=True,
        env=cli.environment,
        check=True,
    )
    assert "alien" in [entry["name"] for entry in json.loads(ended.stdout)]
    assert ended.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("n=9", "options of backend 'alien': n = 9: input should be less than or equal to 4"),
        ("m=1", "unknown option 'm' of alien"),
        ("n=3", "n = 3 does not go with tiny:draft"),
        ("idle=1,2", "alien: idle has no effect with n = 1, so 1 and 2 are the same experiment"),
    ],
)
def test_its_options_are_judged_where_it_lives(cli, setting, words):
    ended = cli("run", "-b", "alien", *SMALL, "--set", setting, "--dry-run", "--no-probe")
    assert ended.code == 2
    assert words in ended.err and "Traceback" not in ended.err


def test_what_it_has_to_say_of_a_cell_is_said(cli):
    ended = cli(
        "run", "-b", "alien", *SMALL, "--set", "n=4", "--set", "several=[3,4]", "--dry-run", "--no-probe", "--json"
    )
    assert ended.code == 0, ended.err
    assert "alien: n will be 2" in ended.err
    (cell,) = ended.json["cells"]
    assert cell["options"] == {"n": 4, "idle": 0, "several": [3, 4]}


def test_the_config_names_an_interpreter(cli, cli_for, tmp_path):
    other = cli_for(tmp_path)
    (tmp_path / "config.toml").write_text(f"[backends.alien]\npython = {str(cli.python)!r}\n[run]\nrounds = 1\n")
    (alien,) = [entry for entry in other("backends", "--json").json if entry["name"] == "alien"]
    assert (alien["version"], alien["distribution"]) == ("2.0", "alien-plugin")
    ended = other("plugins", "uninstall", "alien")
    assert ended.code == 2
    assert "which decodebench did not create" in ended.err


@pytest.mark.parametrize(
    ("table", "code", "words"),
    [
        ("python = 'nothing/bin/python'", 0, "nothing/bin/python: No such file or directory"),
        (
            "python = 'bare/bin/python'",
            0,
            "lacks filelock, jinja2, packaging, platformdirs, pluggy, pydantic, tokenizers; run ",
        ),
        ("pyton = 'x'", 2, "unknown key 'pyton'; did you mean 'python'?"),
        ("python = 3", 2, "python = 3: must be the path of an interpreter"),
    ],
)
def test_an_interpreter_that_cannot_be_used_is_a_reason(cli_for, tmp_path, table, code, words):
    if "bare" in table:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    (tmp_path / "config.toml").write_text(f"[backends.strange]\n{table}\n")
    ended = cli_for(tmp_path)("backends")
    assert ended.code == code
    assert words in ended.err and "Traceback" not in ended.err


@pytest.mark.nightly
def test_what_has_no_backend_leaves_no_environment(cli, index, tmp_path):
    file = wheel(tmp_path, "empty-plugin", "1", "decodebench", empty="x = 1")
    ended = cli("plugins", "install", "--isolated", "empty", file)
    assert ended.code == 2
    assert "provides no backend (empty: implements no decodebench hook" in ended.err
    assert not (cli.home / "data" / "environments" / "empty").exists()


def test_it_goes_as_it_came(cli):
    ended = cli("plugins", "uninstall", "alien")
    assert ended.code == 0, ended.err
    assert not (cli.home / "data" / "environments" / "alien").exists()
    assert "alien-plugin:alien" not in [entry["name"] for entry in cli("backends", "--json").json]

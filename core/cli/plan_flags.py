"""Flags that make a plan, and what they say as settings of the Python API."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ... import defaults
from ..api.plan_content import PLAN, WORKLOAD
from ..errors import UsageError
from ..measure.machine.waiting import WhenBusy
from ..sdk.sizes import Duration, Share, Size
from .guidance.completion import complete
from .guidance.sections import section
from .output import json_option, options
from .settings import is_given, is_set
from .workload_flags import flag_of, is_mapping, workload_options

_VALUE = re.compile(r"(?:\[[^]]*\]|\{[^}]*\}|[^,])+")  # between commas; those within brackets are of a list or range
_FLAG_OF = {"timeout_s": "timeout", "memory_limit_bytes": "memory_limit", "placement_timeout_s": "placement_timeout"}

MATRIX, ROUNDS, MACHINE, OUTPUT = "What is measured", "Rounds", "Machine", "Output"
"""Headings of the help, beside those of ``Setting.section``."""

model_option = section(
    MATRIX,
    click.option(
        "-m", "--model", metavar="MODEL", shell_complete=complete("models"), help="Named model, path or Hub id."
    ),
)
device_option = section(
    MATRIX,
    click.option(
        "-d",
        "--device",
        "devices",
        multiple=True,
        metavar="NAME",
        shell_complete=complete("devices"),
        help="Device, e.g. cpu or cuda:0; repeatable.  [default: cpu]",
    ),
)
set_option = section(
    MATRIX,
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="[BACKEND.]OPTION=V1,V2",
        shell_complete=complete("options"),
        help="Set an option, or sweep it over several values; repeatable.",
    ),
)
matrix_options = section(
    MATRIX,
    click.option(
        "-b",
        "--backend",
        "backends",
        multiple=True,
        metavar="NAME",
        shell_complete=complete("backends"),
        help="Backend to measure; repeatable.",
    ),
    click.option(
        "-q",
        "--quantisation",
        "quantisations",
        multiple=True,
        metavar="[BACKEND:]NAME",
        shell_complete=complete("quantisations"),
        help="Weight format: one of the backend's own, or fp32, bf16, 8bit, 4bit; repeatable.  [default: the backend's "
        "first]",
    ),
    device_option,
    set_option,
)
quiet_option = click.option("--quiet", is_flag=True, help="Print only results and errors.")
run_options = options(
    section(
        ROUNDS,
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            default=defaults.TIMEOUT_S,
            metavar="SECONDS",
            help="Time limit per round.",
        ),
    ),
    section(
        MACHINE,
        click.option(
            "--launcher",
            metavar="NAME",
            default=defaults.LAUNCHER,
            shell_complete=complete("launchers"),
            help="What starts the workers, e.g. ray.",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="Address of the launcher's cluster.  [default: from the launcher's settings]",
        ),
        click.option(
            "--placement-timeout",
            type=click.FloatRange(0, min_open=True),
            default=defaults.PLACEMENT_TIMEOUT_S,
            metavar="SECONDS",
            help="Fail a worker that no machine could take within this time.",
        ),
        click.option(
            "--allow-code-execution", is_flag=True, help="Allow tasks to run code that a model wrote, in a sandbox."
        ),
    ),
    section(
        OUTPUT,
        click.option("--name", metavar="NAME", help="Name of the experiment.  [default: from the workload]"),
        click.option("--anonymise", is_flag=True, help="Record hashes in place of host and user names."),
        click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder."),
        click.option(
            "--resume/--fresh", default=True, help="Continue the experiment of this name, or start a new one."
        ),
        quiet_option,
        json_option,
    ),
)
busy_options = section(
    MACHINE,
    click.option("--wait-idle", is_flag=True, help="Wait until the machine is idle before measuring."),
    click.option(
        "--wait-limit",
        type=click.FloatRange(0),
        default=defaults.WAIT_IDLE_S,
        metavar="SECONDS",
        help="Longest time to wait for an idle machine; implies --wait-idle.",
    ),
    click.option(
        "--strict", is_flag=True, help="Refuse to measure on a machine that is busy or in a power-saving mode."
    ),
)
seed_option = section(
    "Workload",
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=defaults.SEED,
        metavar="N",
        help="Seed for the choice and order of prompts and for sampling.",
    ),
)
task_options = options(workload_options("task", "max_new_tokens"), seed_option)
_round_options = section(
    ROUNDS,
    click.option(
        "--rounds",
        type=click.IntRange(1),
        default=defaults.ROUNDS,
        metavar="N",
        help="Rounds per cell, each in a fresh process.",
    ),
    click.option("--until", type=click.Choice(["verdict"]), help="Add rounds until every comparison has a verdict."),
    click.option(
        "--until-ci",
        type=Share(),
        metavar="SHARE",
        help="Add rounds until the interval of every ratio ends within SHARE of the ratio, e.g. 2%.",
    ),
    click.option(
        "--max-rounds",
        type=click.IntRange(3),
        default=defaults.MAX_ROUNDS,
        metavar="N",
        help="Maximum rounds per cell with --until or --until-ci.",
    ),
    click.option(
        "--budget",
        type=Duration(),
        metavar="TIME",
        help="Time budget, e.g. 20m, from the start of the first round: no round is started that would end later; the "
        "first missing round always runs.",
    ),
    click.option(
        "--restart-server",
        is_flag=True,
        help="Restart servers for every round; otherwise one server serves consecutive rounds.",
    ),
    click.option(
        "--interleave",
        type=click.Choice(["samples", "rounds"]),
        help="Switch cells after every sample or every round.  [default: samples if all cells fit in memory together]",
    ),
    click.option(
        "--across-hosts",
        is_flag=True,
        help="Allow cells of a round on different hosts, with `shard` or a launcher; ratios then compare hosts too.",
    ),
)
_output_options = section(
    OUTPUT,
    click.option("--show-log", is_flag=True, help="Print each sample's log in the format of the engine's own tools."),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Measure nothing; print the matrix and the estimated run time.",
    ),
    click.option(
        "--probe/--no-probe",
        default=True,
        help="With --dry-run: run one batch of each cell for the estimate, or load no engine and estimate nothing.",
    ),
)
measure_options = options(
    workload_options(),
    seed_option,
    _round_options,
    section(
        MACHINE,
        click.option("--memory-limit", type=Size(), metavar="SIZE", help="Memory limit of each worker, e.g. 2GiB."),
        busy_options,
    ),
    run_options,
    _output_options,
)


def when_busy(flags: Mapping[str, Any]) -> WhenBusy:
    """Return what the flags of ``busy_options`` say; a limit given as a flag asks for waiting, one of a config not."""
    waits = flags["wait_idle"] or is_given(click.get_current_context(), "wait_limit")
    return WhenBusy(flags["wait_limit"] if waits else 0.0, flags["strict"])


def settings_of(ctx: click.Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that flags give, and those of the environment and the config file, which a plan beats."""
    given: dict[str, Any] = {}
    fallbacks: dict[str, Any] = {}
    for name in (*WORKLOAD, *PLAN):
        flag = _FLAG_OF.get(name, name)
        if name != "model" and flag in ctx.params and is_set(ctx, flag):
            value = ctx.params[flag]
            read = parse_values(value, flag_of(name)) if is_mapping(name) else value
            (given if is_given(ctx, flag) else fallbacks)[name] = read
    return given, fallbacks


def span_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags of ``matrix_options`` say, as settings; those that were not given are left out."""
    spans = {name: list(flags[name]) for name in ("backends", "quantisations", "devices") if flags.get(name)}
    return spans | ({"options": parse_options(flags["settings"])} if flags["settings"] else {})


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``[BACKEND.]OPTION=V1,V2`` texts, see ``parse_values``."""
    return parse_values(texts, "--set", "[BACKEND.]OPTION")


def parse_values(texts: Iterable[str], flag: str, name: str = "NAME") -> dict[str, Any]:
    """Read ``NAME=V1,V2`` texts: the value, or the list of values to sweep, by what is before ``=``.

    Args:
        texts: what the user gave.
        flag: with which flag, for messages.
        name: what the flag's help calls the name.

    Raises:
        UsageError: a text is malformed.
    """
    found: dict[str, Any] = {}
    for text in texts:
        left, equals, right = text.partition("=")
        if not equals or not left or not right:
            raise UsageError(f"{flag} {text!r}: write {name}=VALUE or {name}=V1,V2", code="bad-value")
        values = [_value(value) for value in _VALUE.findall(right)]
        found.pop(left, None)  # of two texts the later one counts
        found[left] = values if len(values) > 1 or isinstance(values[0], list) else values[0]
    return found


def _value(text: str) -> Any:  # noqa: ANN401 - any TOML scalar
    """Read a value as TOML would; a bare word is a string."""
    if text == "null":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except RecursionError as error:
        raise UsageError(f"--set: a value of {len(text)} characters nests too deep", code="bad-value") from error

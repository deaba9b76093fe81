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
from .output import json_option, options
from .settings import is_given, is_set
from .workload_flags import flag_of, is_mapping, workload_options

_VALUE = re.compile(r"(?:\[[^]]*\]|\{[^}]*\}|[^,])+")  # between commas; those within brackets are of a list or range
_FLAG_OF = {"timeout_s": "timeout", "memory_limit_bytes": "memory_limit", "placement_timeout_s": "placement_timeout"}

model_option = click.option("-m", "--model", metavar="MODEL", help="Named model, path or Hub id.")
device_option = click.option("-d", "--device", "devices", multiple=True, metavar="NAME", help="Device; repeatable.")
set_option = click.option(
    "--set", "settings", multiple=True, metavar="[BACKEND.]OPTION=V1,V2", help="Set or sweep an option; repeatable."
)
matrix_options = options(
    click.option("-b", "--backend", "backends", multiple=True, metavar="NAME", help="Backend; repeatable."),
    click.option(
        "-q",
        "--quantisation",
        "quantisations",
        multiple=True,
        metavar="[BACKEND:]NAME",
        help="Weight format, a backend's own or fp32, bf16, 8bit, 4bit; repeatable.",
    ),
    device_option,
    set_option,
)
quiet_option = click.option("--quiet", is_flag=True, help="Print no progress: results, and what went wrong.")
run_options = options(
    click.option(
        "--timeout", type=click.FloatRange(0, min_open=True), default=defaults.TIMEOUT_S, help="Seconds a round."
    ),
    click.option("--launcher", metavar="NAME", default=defaults.LAUNCHER, help="What runs the workers, and where."),
    click.option("--address", metavar="HOST:PORT", help="Cluster of the launcher.  [default: its own settings]"),
    click.option(
        "--placement-timeout",
        type=click.FloatRange(0, min_open=True),
        default=defaults.PLACEMENT_TIMEOUT_S,
        help="Seconds until a worker fails that no machine can take.",
    ),
    click.option("--name", metavar="NAME", help="Name of the experiment.  [default: from the workload]"),
    click.option("--anonymise", is_flag=True, help="Record hashes instead of host and user names."),
    click.option("--allow-code-execution", is_flag=True, help="Let tasks run code that a model wrote, in a sandbox."),
    click.option("-o", "--output", type=click.Path(path_type=Path), default=defaults.OUTPUT, help="Output folder."),
    click.option("--resume/--fresh", default=True, help="Complete the experiment of this name, or begin a new one."),
    quiet_option,
    json_option,
)
busy_options = options(
    click.option("--wait-idle", is_flag=True, help="Wait until other work leaves the machine alone, then measure."),
    click.option(
        "--wait-limit", type=click.FloatRange(0), default=defaults.WAIT_IDLE_S, help="Seconds to wait at most."
    ),
    click.option("--strict", is_flag=True, help="Measure nothing on a machine that is busy or saves power."),
)
seed_option = click.option(
    "--seed", type=click.IntRange(0), default=defaults.SEED, help="Chooses prompts, order, sampling."
)
task_options = options(workload_options("task", "max_new_tokens"), seed_option)
measure_options = options(
    workload_options(),
    seed_option,
    click.option("--rounds", type=click.IntRange(1), default=defaults.ROUNDS, help="Fresh processes per cell."),
    click.option("--until", type=click.Choice(["verdict"]), help="Add rounds until each comparison has a verdict."),
    click.option(
        "--until-ci", type=Share(), metavar="SHARE", help="Add rounds until intervals of ratios are so narrow, e.g. 2%."
    ),
    click.option(
        "--max-rounds",
        type=click.IntRange(3),
        default=defaults.MAX_ROUNDS,
        help="Rounds at most, with --until, --until-ci.",
    ),
    click.option("--budget", type=Duration(), metavar="TIME", help="Begin no round that would end later, e.g. 20m."),
    click.option(
        "--restart-server",
        is_flag=True,
        help="Start servers anew for each round; otherwise one answers the rounds that follow each other.",
    ),
    click.option(
        "--interleave",
        type=click.Choice(["samples", "rounds"]),
        help="What takes turns.  [default: samples where all cells fit into memory together]",
    ),
    click.option(
        "--across-hosts",
        is_flag=True,
        help="Let cells of one round run on different hosts, with `shard` or a launcher; ratios are between machines.",
    ),
    click.option("--memory-limit", type=Size(), metavar="SIZE", help="Memory limit of each worker, e.g. 2GiB."),
    click.option("--show-log", is_flag=True, help="Print each sample's log in the format of the engine's own tools."),
    busy_options,
    click.option(
        "--dry-run",
        is_flag=True,
        help="Print the matrix and what it would take, by one batch of each cell; record nothing.",
    ),
    click.option("--probe/--no-probe", default=True, help="With --dry-run: try every cell, or load nothing."),
    run_options,
)


def when_busy(flags: Mapping[str, Any]) -> WhenBusy:
    """Return what the flags of ``busy_options`` say."""
    return WhenBusy(flags["wait_limit"] if flags["wait_idle"] else 0.0, flags["strict"])


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
            raise UsageError(f"{flag} {text!r}: write {name}=VALUE or {name}=V1,V2")
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
        raise UsageError(f"--set: a value of {len(text)} characters nests too deep") from error

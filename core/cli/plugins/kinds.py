"""What ``plugins new`` can write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A plugin to start from; its code is the template of the kind's own name.

    Attributes:
        summary: what it does, one line.
        hook: which one it implements.
        returns: type of what the hook returns a sequence of.
        made: the one that it returns, ``{}`` standing for the class's name.
        use: a command that uses it, ``{}`` standing for the plugin's name.
        part: the module that holds it; its tests are the template of that name.
        runs_models: whether it, or a test of it, runs a model.
        requirements: what else it imports.
    """

    summary: str
    hook: str
    returns: str
    made: str
    use: str
    part: str
    runs_models: bool = False
    requirements: tuple[str, ...] = ()


_BACKEND = ("decodebench_backends", "type[Backend]", "{}", "run -b {} -b transformers -m tiny:target --task tiny-gsm")

KINDS: Mapping[str, Kind] = {
    "backend": Kind(
        "n-gram decoder: repeats what followed the same tokens before",
        *_BACKEND,
        part="backend",
        requirements=("pydantic>=2.12",),
    ),
    "prompt-lookup": Kind(
        "prompt-lookup decoding: drafts from the prompt, verifies with the model",
        *_BACKEND,
        part="backend",
        runs_models=True,
        requirements=("pydantic>=2.12",),
    ),
    "server": Kind(
        "server: greedy completions of one that somebody else runs, over HTTP",
        *("decodebench_backends", "type[Backend]", "{}", "run -b {} -m tiny:target --set url=http://127.0.0.1:8000/v1"),
        part="server",
        requirements=("pydantic>=2.12",),
    ),
    "task": Kind(
        "task: seeded sums, and how an answer is scored",
        *("decodebench_tasks", "type[Task]", "{}", "run -b transformers -m tiny:target --task {}"),
        part="task",
    ),
    "figure": Kind(
        "figure: how the time of a generation divides",
        *("decodebench_figures", "Figure", "FIGURE", "plot --figure {}"),
        part="figure",
        runs_models=True,
        requirements=("matplotlib>=3.9",),
    ),
    "parser": Kind(
        "log parser: reads a tool's lines of tokens and seconds",
        *("decodebench_log_parsers", "type[LogParser]", "{}", "collate results --import LOG --format {}"),
        part="parser",
    ),
    "finding": Kind(
        "finding: flags answers that end at the limit of tokens",
        *("decodebench_findings", "FindingCheck", "CHECK", "findings"),
        part="finding",
        runs_models=True,
    ),
    "launcher": Kind(
        "launcher: workers of all experiments on this machine take turns",
        *("decodebench_launchers", "type[Launcher]", "{}", "run -b transformers -m tiny:target --launcher {}"),
        part="launcher",
        runs_models=True,
        requirements=("filelock>=3.30",),
    ),
}

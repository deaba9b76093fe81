"""Completion on the Tab key: names of everything that a command takes by its name, in bash, zsh and fish."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class, get_completion_class

from ...contract.model import CommonFormat
from ...errors import DecodebenchError
from ..output import CONTEXT

if TYPE_CHECKING:
    from ...contract.backend import Backend
    from ...host.registry import Registry

Names = Literal[
    "backends", "models", "tasks", "quantisations", "options", "devices", "figures", "formats", "metrics", "launchers",
    "plugins", "presets", "commands",
]  # fmt: skip
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]
Shell = Literal["bash", "zsh", "fish"]

_DEVICES = ("cpu", "cuda:0", "metal")
_COMMON = "in every backend that has such a format"


def complete(what: Names) -> Completer:
    """Return what click asks for the completions of a parameter; plugins are loaded then, not before."""

    def completer(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from ...api.plugins import installed_plugins

        try:
            found = list(_commands(ctx) if what == "commands" else _items(what, installed_plugins(), ctx, incomplete))
        except DecodebenchError:
            return []  # the command itself says what is wrong
        return [item for item in found if item.value.startswith(incomplete)]

    return completer


def _items(what: Names, registry: Registry, ctx: click.Context, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Yield every name of a kind; formats and options are those of the chosen backends, or of the one typed before."""
    backends = [registry.backends[name] for name in _chosen(ctx) if name in registry.backends]
    match what:
        case "backends" | "models" | "tasks" | "launchers":
            yield from _summarised({name: found.summary for name, found in getattr(registry, what).items()})
        case "quantisations":
            yield from _quantisations(backends, registry, incomplete, is_plain=ctx.info_name == "prepare")
        case "options":
            yield from _options(backends, registry, incomplete)
        case "devices":
            yield from map(CompletionItem, _DEVICES)
        case "figures":
            yield from _summarised({name: figure.title for name, figure in registry.figures.items()})
        case "formats":
            yield from _summarised({name: found.summary for name, found in registry.exporters.items()})
        case "presets":
            yield from _summarised({name: found.summary for name, found in registry.sweeps.items()})
        case "plugins":
            yield from (CompletionItem(plugin.name) for plugin in registry.plugins)
        case "metrics":
            from ...records.metrics import METRICS

            yield from _summarised({name: metric.label for name, metric in METRICS.items()})


def _summarised(summaries: Mapping[str, str]) -> Iterator[CompletionItem[str]]:
    yield from (CompletionItem(name, help=summary) for name, summary in summaries.items())


def _quantisations(
    chosen: Sequence[type[Backend]], registry: Registry, incomplete: str, *, is_plain: bool
) -> Iterator[CompletionItem[str]]:
    """Yield formats and the common names, behind ``BACKEND:`` of that backend alone; and backends as ``NAME:``."""
    before, colon, _ = incomplete.partition(":")
    if colon and before in registry.backends:
        own = registry.backends[before].quantisations()
        yield from _summarised({f"{before}:{each.name}": each.summary for each in own})
        yield from _summarised({f"{before}:{name}": _COMMON for name in get_args(CommonFormat)})
        return
    yield from _summarised(
        {each.name: each.summary for one in chosen or _all(registry) for each in one.quantisations()}
    )
    yield from _summarised(dict.fromkeys(get_args(CommonFormat), _COMMON))
    if incomplete and not is_plain:
        yield from (CompletionItem(f"{name}:", help="a format of this backend alone") for name in registry.backends)


def _options(chosen: Sequence[type[Backend]], registry: Registry, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Yield options; behind ``BACKEND.`` those of that backend, and each backend as ``NAME.``."""
    before, dot, _ = incomplete.partition(".")
    if dot and before in registry.backends:
        fields = registry.backends[before].Options.model_fields
        yield from _summarised({f"{before}.{name}=": field.description or "" for name, field in fields.items()})
        return
    backends = chosen or _all(registry)
    found = {f"{name}=": field.description for one in backends for name, field in one.Options.model_fields.items()}
    yield from _summarised({name: description or "" for name, description in found.items()})
    if incomplete:
        yield from (CompletionItem(f"{one.name}.", help="an option of this backend alone") for one in backends)


def _commands(ctx: click.Context) -> Iterator[CompletionItem[str]]:
    """Yield the commands that may follow those that the line has so far."""
    at = ctx.find_root()
    for name in ctx.params.get("names") or ():
        command = at.command.get_command(at, name) if isinstance(at.command, click.Group) else None
        if command is None:
            return
        at = click.Context(command, info_name=name, parent=at)
    if isinstance(at.command, click.Group):
        yield from map(CompletionItem, at.command.list_commands(at))


def _all(registry: Registry) -> list[type[Backend]]:
    return list(registry.backends.values())


def _chosen(ctx: click.Context) -> list[str]:
    """Return the backends that the line has so far."""
    found = ctx.params.get("backends") or ctx.params.get("backend") or ()
    return [found] if isinstance(found, str) else list(found)


class _Bash(BashComplete):
    """Bash splits words at ``:`` and ``=`` and completes what is behind them; tiny:target has such a sign."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n'
    COMPREPLY=($(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1"))
    [[ ${#COMPREPLY[@]} -eq 1 && $COMPREPLY == *[=.:] ]] && compopt -o nospace
    return 0
}
complete -o nosort -o bashdefault -o default -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        try:
            words = shlex.split(line)
        except ValueError:  # within quotes
            words = line.split()
        incomplete = "" if line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def complete(self) -> str:
        args, incomplete = self.get_completion_args()
        breaks = [sign for sign in ":=" if sign in os.environ.get("COMP_BREAKS", "")]
        start = max((incomplete.rfind(sign) + 1 for sign in breaks), default=0)
        option, equals, value = incomplete.partition("=")
        before = f"{option}=" if equals and option.startswith("--") else ""  # one word for bash, two for click
        if before:
            args, incomplete = [*args, option], value
        found = self.get_completions(args, incomplete)
        return "\n".join(f"{before}{item.value}"[start:] for item in found if item.type == "plain")


class _Zsh(ZshComplete):
    """Zsh puts a space behind what it completes, but the value of an option follows its ``=`` at once."""

    source_template = (
        ZshComplete.source_template.replace(
            "completions_with_descriptions -U\n", 'completions_with_descriptions -U "${end[@]}"\n'
        )
        .replace("compadd -U", 'compadd "${end[@]}" -U')
        .replace("    local -a response\n", "    local -a response\n    local -a end\n")
        .replace(
            '    if [ -n "$completions_with_descriptions" ]',
            "    [[ $key == *[=.:] ]] && end=(-S '')\n\n    if [ -n \"$completions_with_descriptions\" ]",
        )
    )


add_completion_class(_Bash)
add_completion_class(_Zsh)


@click.command(context_settings=CONTEXT)
@click.argument("shell", type=click.Choice(get_args(Shell)))
def completion(shell: Shell) -> None:
    """Print the shell script that completes names on Tab.

    \b
    bash: echo 'eval "$(decodebench completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(decodebench completion zsh)"' >> ~/.zshrc
    fish: decodebench completion fish > ~/.config/fish/completions/decodebench.fish
    """
    root = click.get_current_context().find_root().command
    made = get_completion_class(shell)
    if made is not None:
        click.echo(made(root, {}, "decodebench", "_DECODEBENCH_COMPLETE").source())

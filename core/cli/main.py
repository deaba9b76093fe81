"""The ``decodebench`` command: finds the sub-command, words errors, sets exit codes."""

from __future__ import annotations

import codecs
import gc
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from ..errors import DecodebenchError
from . import exit_codes
from .output import echo
from .refusals import report
from .settings import defaults_from_config

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_RARELY = 100_000  # new objects between two collections: records of a large store live until the command ends

_COMPLETE = "_DECODEBENCH_COMPLETE"  # set by a shell's script, see `guidance/completion.py`

_PLAIN_SIGNS = {"±": "~", "µ": "u", "Δ": "d", "≥": ">", "–": "-", "·": "-", "…": "."}

# name -> (module, what it does); the text stands here so that `--help` imports no command
_COMMANDS = {
    "demo": ("demo", "Compare the installed engines on the built-in tiny models."),
    "run": ("run", "Measure a matrix of backends, models, quantisations and options."),
    "shard": ("run", "Measure shard I of the N that a plan's rounds are divided into, each on a machine of its own."),
    "status": ("experiments.folder", "Show what is done, failed and left to do in each experiment of DIR."),
    "experiments": ("experiments.folder", "Rename, delete or restore experiments; `decodebench status` lists them."),
    "sweep": ("sweep", "Run a preset matrix of a plugin, such as block sizes; without NAME, list them."),
    "parity": ("parity", "Compare every cell's greedy outputs and distributions with a reference."),
    "prepare": ("prepare", "Convert and quantise MODEL for a backend, into the cache."),
    "collate": ("results", "Read the raw logs of a folder into its store."),
    "compare": ("compare", "Compare cells with intervals, verdicts, parity and accuracy."),
    "speculation": ("speculation", "Analyse speculative decoding: acceptance, cycle costs, block sizes, pairs."),
    "findings": ("compare", "Check the measurements of an experiment and list findings."),
    "audit": ("results", "Check other tools' results and list findings; write nothing."),
    "show": ("compare", "Show a comparison with latency, memory and the course of its rounds."),
    "plot": ("results", "Draw figures from the store."),
    "report": ("report", "Write a self-contained HTML page about an experiment, or slides, or both."),
    "history": ("experiments.history", "Show a metric of each cell over the experiments of DIR, the oldest first."),
    "gate": ("experiments.gate", "Test whether NEW is slower than BASE: exit code 3 if it is."),
    "bundle": (
        "experiments.bundle",
        "Write an experiment of DIR into one file, from which others can measure it again.",
    ),
    "rerun": (
        "experiments.bundle",
        "Measure BUNDLE again and compare: the same outputs, and ratios that do not differ.",
    ),
    "export": ("results", "Write the store as one CSV file per backend."),
    "query": ("results", "Run SQL on the store."),
    "backends": ("listings", "List backends, and how to get those that are missing."),
    "quantisations": ("listings", "List every backend's weight formats, the widest first."),
    "models": ("listings", "List named models, or check one: a name, path or Hub id."),
    "tasks": ("listings", "List tasks."),
    "plugins": ("plugins", "List, show, install, write and check plugins."),
    "doctor": ("doctor", "Show what this machine has, what is missing and how to get it."),
    "schema": ("listings", "Print the JSON Schema of the records."),
    "cache": ("prepare", "List or prune prepared models, with their sizes and ages."),
    "config": ("guidance.config", "Show or change the user's config file."),
    "completion": ("guidance.completion", "Print what a shell needs to complete names on the Tab key."),
    "help": ("guidance.help", "Show the help of a command."),
}


class Commands(click.Group):
    """Sub-commands that are imported when they are called."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete a command's name without importing one."""
        from click.shell_completion import CompletionItem

        from .plugin_commands import listed

        texts = {name: text for name, (_, text) in _COMMANDS.items()} | listed()
        found = [CompletionItem(name, help=text) for name, text in texts.items() if name.startswith(incomplete)]
        return found or super().shell_complete(ctx, incomplete)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table above, then those of plugins."""
        from .plugin_commands import listed

        return [*_COMMANDS, *listed()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; unknown names are left to click, which suggests the nearest."""
        if cmd_name not in _COMMANDS:
            from .plugin_commands import load

            return load(cmd_name)
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f".{module}", __package__), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing one."""
        from .plugin_commands import listed

        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])
        if of_plugins := listed():
            with formatter.section("Commands of plugins"):
                formatter.write_dl(list(of_plugins.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command with the nearest name."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from ..errors import unknown_name

            known = self.list_commands(ctx)
            if args[0] not in known and self.get_command(ctx, args[0]) is None:
                raise unknown_name("command", args[0], known)
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        echo(f"decodebench {version('decodebench')}")
        ctx.exit()


def _tell(variable: str, value: str) -> None:
    """Set a variable for this process and those that it starts, before a command is looked up."""
    os.environ[variable] = value


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.option(
    "--plugin",
    multiple=True,
    metavar="FILE.py",
    envvar="DECODEBENCH_PLUGIN",
    type=click.Path(exists=True, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, parameter, files: _tell("DECODEBENCH_PLUGIN", os.pathsep.join(map(os.path.abspath, files))),
    help="Load a one-off plugin from a file; repeatable.",
)
@click.option(
    "--trace-plugins",
    is_flag=True,
    envvar="DECODEBENCH_TRACE_PLUGINS",
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, parameter, is_on: _tell("DECODEBENCH_TRACE_PLUGINS", "1" if is_on else ""),
    help="Say on the error output what is called in which plugin, and how long it takes.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compare LLM inference backends and decoders: speed, parity and accuracy, measured alike.

    Start with `decodebench demo`. Every table and listing takes --json. Settings come from flags, then the plan,
    then DECODEBENCH_* variables, then the user's config file, then built-in defaults.

    Exit codes: 0 done; 1 something measured failed; 2 bad usage or input; 3 a gate tripped or parity broken;
    130 interrupted.
    """
    from .plugin_commands import listed

    ctx.default_map = defaults_from_config(lambda: [*_COMMANDS, *listed()])


def main() -> None:
    """Run the command line and exit."""
    gc.set_threshold(_RARELY)
    _print_anywhere()
    if _COMPLETE in os.environ:
        import_module(".guidance.completion", __package__)  # says what bash gets
    sys.exit(_run())


def _print_anywhere() -> None:
    """Let streams that lack Unicode print plain signs in place of ours, one for one so that tables stay aligned."""
    codecs.register_error("decodebench", _in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="decodebench")


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN_SIGNS.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


@cli.result_callback()
def _finish(code: object, **_: object) -> int:
    """Return the exit code of a command that has run."""
    if isinstance(code, int) and code:
        return code
    found: int = click.get_current_context().meta.get(exit_codes.KEY, exit_codes.DONE)
    return found


def _run() -> int:
    try:
        code = cli.main(prog_name="decodebench", standalone_mode=False)
        return code if isinstance(code, int) else exit_codes.DONE
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, click.Abort):
        echo("decodebench: interrupted; everything finished so far is kept", err=True)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone, such as `| head`
        return exit_codes.DONE
    except (click.ClickException, DecodebenchError, RecursionError, OSError) as error:
        return report(error)

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

from ..cache import ModelCache
from ..errors import DecodebenchError, UsageError
from . import exit_codes
from .output import announce, echo, follow_columns
from .refusals import report
from .settings import defaults_from_config

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_RARELY = 100_000  # new objects between two collections: records of a large store live until the command ends

_COMPLETE = "_DECODEBENCH_COMPLETE"  # set by a shell's script, see `guidance/completion.py`

_PLAIN_SIGNS = {"±": "~", "µ": "u", "Δ": "d", "≥": ">", "–": "-", "·": "-", "…": "."}

_MEND = ("config", "help", "completion")  # what helps to mend a config file works while it is broken

# name -> (module, what it does); the text stands here so that `--help` imports no command
_COMMANDS = {
    "demo": ("demo", "Compare the installed engines on the built-in tiny models."),
    "run": ("run", "Measure a matrix of backends, models, quantisations and options."),
    "shard": ("run", "Measure shard I of N of a plan's rounds, one shard per machine."),
    "status": ("experiments.folder", "Show how many rounds are done, failed and left in each experiment of DIR."),
    "experiments": ("experiments.folder", "Rename, delete or restore experiments; `decodebench status` lists them."),
    "sweep": ("sweep", "Run a preset matrix of a plugin, e.g. over block sizes; without NAME, list the presets."),
    "parity": ("parity", "Compare every cell's greedy outputs and distributions with a reference."),
    "prepare": ("prepare", "Convert and quantise MODEL for a backend, into the cache."),
    "collate": ("results", "Read the raw logs of a folder into its store."),
    "compare": ("compare", "Compare cells: ratios with intervals, verdicts, parity and accuracy."),
    "speculation": ("speculation", "Analyse speculative decoding: acceptance, cycle costs, block sizes, model pairs."),
    "findings": ("compare", "Check an experiment for measurement problems and list the findings."),
    "audit": ("results", "Check results of other tools and list the findings; nothing is written."),
    "show": ("compare", "Show a comparison with latency, memory and the trend over rounds."),
    "plot": ("results", "Draw figures from the store."),
    "report": ("report", "Write an experiment as a self-contained HTML page, as slides, or as both."),
    "history": ("experiments.history", "Show a metric of each cell over the experiments of DIR, oldest first."),
    "gate": ("experiments.gate", "Test whether NEW is slower than BASE; exit code 3 if it is."),
    "bundle": ("experiments.bundle", "Pack an experiment of DIR into one file that others can measure again."),
    "rerun": ("experiments.bundle", "Measure BUNDLE again and test whether its outputs and ratios are reproduced."),
    "export": ("results", "Export the store, by default as one CSV file per backend."),
    "query": ("experiments.query", "Run SQL on the store."),
    "backends": ("listings", "List backends, and how to install those that are missing."),
    "quantisations": ("listings", "List every backend's weight formats, widest first."),
    "models": ("listings", "List named models, or show which backends can open a model."),
    "tasks": ("listings", "List tasks."),
    "plugins": ("plugins", "List, show, install, write and check plugins."),
    "doctor": ("doctor", "Show what this machine has, what is missing and how to fix it."),
    "schema": ("listings", "Print the JSON Schema of the records."),
    "cache": ("prepare", "List prepared models with their sizes and ages, or delete them."),
    "config": ("guidance.config", "Show or change the user's config file."),
    "completion": ("guidance.completion", "Print the shell script that completes names on Tab."),
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
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
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
    help="Load a plugin from a Python file; repeatable.",
)
@click.option(
    "--trace-plugins",
    is_flag=True,
    envvar="DECODEBENCH_TRACE_PLUGINS",
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, parameter, is_on: _tell("DECODEBENCH_TRACE_PLUGINS", "1" if is_on else ""),
    help="Log every call into a plugin, with its duration, to standard error.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compare LLM inference backends and decoders: speed, parity and accuracy under the same conditions.

    Start with `decodebench demo`. Every command that prints a table takes --json. A flag overrides the plan, the plan
    a DECODEBENCH_* variable, a variable the user's config file, and the file the built-in default.

    Exit codes: 0 success; 1 a measurement failed; 2 bad usage or input; 3 a gate tripped or parity is broken;
    130 interrupted.
    """
    try:
        ctx.default_map = defaults_from_config(ctx)
    except UsageError:
        if ctx.invoked_subcommand not in _MEND and not {"-h", "--help"}.intersection(sys.argv[1:]):
            raise


def main() -> None:
    """Run the command line and exit."""
    gc.set_threshold(_RARELY)
    _print_anywhere()
    follow_columns()
    click.IntRange.name, click.FloatRange.name = "integer", "number"  # in messages, "not a valid integer range"
    if _COMPLETE in os.environ:
        import_module(".guidance.completion", __package__)  # says what bash gets
    ModelCache.announce = announce
    sys.exit(_run())


def _print_anywhere() -> None:
    """Let streams that lack Unicode print plain signs in place of ours, one for one so that tables stay aligned."""
    codecs.register_error("decodebench", _in_plain_signs)
    # Python has no stream where the shell closed it (`>&-`).
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
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

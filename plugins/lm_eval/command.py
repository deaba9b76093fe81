"""`decodebench lm-eval`: the harness's own command line, in which every backend is the model `decodebench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.contract.command import Command

if TYPE_CHECKING:
    import click


def _lm_eval() -> click.Command:
    import click

    @click.command(
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        options_metavar="",
        help="Run lm-evaluation-harness with any backend as its model, which is called `decodebench`.",
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def lm_eval(arguments: tuple[str, ...]) -> int:
        return run_harness(arguments)

    return lm_eval


def run_harness(arguments: Sequence[str]) -> int:
    """Hand the arguments over to the harness.

    Returns:
        The exit code.

    Raises:
        UsageError: the harness is not installed, or a name is wrong.
        BackendError: a backend failed; what the harness had cached is kept.
    """
    from .problems import installed_version

    installed_version()
    from lm_eval._cli import HarnessCLI
    from lm_eval.api.registry import model_registry
    from lm_eval.utils import setup_logging

    from .model import NAME, DecodebenchLM

    if NAME not in model_registry:
        model_registry.register(NAME, target=DecodebenchLM)
    setup_logging()
    asked = ["run", "--help"] if set(arguments) in ({"--help"}, {"-h"}) else arguments  # the flags are those of `run`
    before, sys.argv = sys.argv, ["decodebench lm-eval", *asked]  # what the harness's parser reads
    try:
        harness = HarnessCLI()
        harness.execute(harness.parse_args())
    except SystemExit as end:  # the harness's parser ends the process on bad usage and after its help
        return end.code if isinstance(end.code, int) else 2 if end.code else 0
    finally:
        sys.argv = before
    return 0


COMMANDS = [Command("lm-eval", "Run lm-evaluation-harness with any backend as its model.", _lm_eval)]

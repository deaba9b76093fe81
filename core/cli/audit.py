"""``audit``: what a reviewer of published numbers runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import CONTEXT, FilesRead, echo, json_option, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...collate.preview import ImportedFile


@click.command(context_settings=CONTEXT)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, exists=True))
@click.option("--details", is_flag=True, help="Show what a check found in each cell, too.")
@json_option
def audit(paths: tuple[Path, ...], details: bool, as_json: bool) -> None:
    """Say what is wrong or doubtful in other tools' results; nothing is written.

    PATH is a log, or a folder of logs, of any format that `collate --import` reads.
    """
    from ..api.imports import audit as check

    with FilesRead() as progress:
        found = check(paths, progress)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    for finding in found.findings:
        echo(f"{finding.severity}: {finding}")
        for text in finding.details if details else ():
            echo(f"  {text}")
    for file in found.files:
        for text in file.left_out:
            echo(f"{file.file}: {text}", err=True)
    read = [file for file in found.files if file.format]
    echo(f"{len(found.findings)} findings in {sum(file.runs for file in read)} runs of {len(read)} files")


def print_files(files: Sequence[ImportedFile], *, as_json: bool) -> None:
    """Print what an import makes of each file."""
    if as_json:
        print_json([file.model_dump(mode="json") for file in files])
        return
    for file in files:
        if file.format is None:
            echo(f"{file.file}: refused: {'; '.join(file.left_out)}")
            continue
        what = f"{file.format} {', '.join(file.versions)}".rstrip()
        echo(f"{file.file}: {what}: {file.runs} runs, {file.failed} failed, {file.samples} samples")
        for text in file.left_out:
            echo(f"  {text}")

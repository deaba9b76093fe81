"""Completion on the Tab key, asked of the shells themselves."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

LINES = {
    "decodebench qu": ["quantisations", "query"],
    "decodebench run -m tiny:dra": ["tiny:draft"],
    "decodebench run -b faul": ["faulty"],
    "decodebench run --task tiny-g": ["tiny-gsm"],
    "decodebench run -b faulty --set step_": ["step_s="],
}


def in_fish(cli, folder, line):
    script = f"decodebench completion fish | source; complete -C '{line}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], env=cli.environment, capture_output=True, text=True)
    return [row.split("\t")[0] for row in done.stdout.splitlines()]


def in_bash(cli, folder, line):
    """What bash is told for a line; it keeps what is before the last colon itself."""
    script = (
        f"eval \"$(decodebench completion bash)\"; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
        "compopt() { :; }; _decodebench_completion decodebench; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "--norc", "-c", script], env=cli.environment, capture_output=True, text=True)
    typed = line.rpartition(" ")[2]
    kept = typed[: typed.rfind(":") + 1]
    return [kept + word for word in done.stdout.split()]


def in_zsh(cli, folder, line, wanted):
    """What zsh has on its line after a Tab, on a terminal of its own; a space follows but behind a ``=``."""
    end = "" if wanted.endswith("=") else " "
    (folder / ".zshrc").write_text(
        "PS1='> '; autoload -Uz compinit; compinit -u; eval \"$(decodebench completion zsh)\"\nprint ready\n"
    )
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("zsh", ["zsh", "-i"], {**cli.environment, "ZDOTDIR": str(folder), "TERM": "dumb"})
    try:
        shown = heard(terminal, "ready")
        os.write(terminal, line.encode() + b"\t")
        shown = heard(terminal, f"{wanted}{end}")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\r]", "", shown)


def heard(terminal, word, seconds=20.0):
    """What comes from a terminal up to a word, and in the half second behind it."""
    text, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        is_there = word in text
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if ready:
            text += os.read(terminal, 4096).decode(errors="replace")
        elif is_there:
            break
    return text


@pytest.fixture
def shell_cli(cli, tmp_path):
    """A command line whose ``decodebench`` is on the path, as a user's is."""
    program = tmp_path / "bin" / "decodebench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(cli.command())} "$@"\n')
    program.chmod(0o755)
    cli.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    return cli


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "decodebench run -m tiny:dra"),
        *(pytest.param("bash", line, marks=pytest.mark.nightly) for line in LINES if "tiny:" not in line),
        *(pytest.param("fish", line, marks=pytest.mark.nightly) for line in LINES),
        *(pytest.param("zsh", line, marks=pytest.mark.nightly) for line in LINES if "qu" not in line),
    ],
)
def test_names_are_completed(shell_cli, tmp_path, shell, line):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    if shell == "zsh":
        (wanted,) = LINES[line]
        shown = in_zsh(shell_cli, tmp_path, line, wanted)
        assert shown.endswith(wanted if wanted.endswith("=") else f"{wanted} ")
    else:
        found = {"bash": in_bash, "fish": in_fish}[shell](shell_cli, tmp_path, line)
        assert sorted(found) == LINES[line]

"""Every log parser takes time linear in what it reads: a megabyte of anything in under a second of CPU."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

import pytest

from decodebench import DecodebenchError
from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.host.registry import Registry

from ..at_night import a_few

DATA = Path(__file__).parents[1] / "data"
MEGABYTE = 10**6
BEGINNINGS = (
    "", "llama_print_timings:", "llama_perf_context_print: load time =", "slot print_timing: id 0 | task 0 |",
    "llama_model_loader: loaded meta data with 1 from x", "1%|", "[bs=8] Baseline TTFT: ", '{"timings": {',
    "answer: ####", "[\n",
)  # fmt: skip
PIECES = (
    "a", " ", "\t", "0", "1.", "1,", "[", "{", "(", "| ", "| model ", "a=1 ", "a: ", "1 ms ", "1 tok/s ", "\x1b[",
    "\x1b[0m", '"', "\\", '{"a":', '[{"a":', "_", "1% ", "1%|", "1%| |", "1it [", "model=", "load time ", "eval time =",
    "llama_print_timings: ", "slot  print_timing ", "loaded meta data with 1 from ", "draft acceptance = x (", "\n",
    " \n", "{}\n", "#", "1/", "é", "using device ", "Total time taken: ",
)  # fmt: skip
PARSERS = sorted(Registry().log_parsers.items())


def cpu_s(parser, path, text):
    path.write_text(text, encoding="utf-8")
    start = time.process_time()
    if parser.matches(path, text.encode()[:HEAD_BYTES]):
        with suppress(DecodebenchError):
            for _ in parser.read(path):
                pass
    return time.process_time() - start


def known_logs(parser):
    """Return a real log of each suffix that a parser knows."""
    found = {}
    for path in sorted(DATA.rglob("*")):
        if path.is_file() and path.suffix not in found and 0 < path.stat().st_size < 200_000:
            if parser.matches(path, path.read_bytes()[:HEAD_BYTES]):
                found[path.suffix] = path
    return list(found.values())


def check(name, tmp_path, texts, size):
    """Check the time of each text; a first look takes a tenth of the size, so that what is quadratic ends soon."""
    parser = dict(PARSERS)[name]()
    for file_name, before, piece, after in texts:
        for part in (size // 10, size):
            spent = cpu_s(parser, tmp_path / file_name, before + piece * (part // len(piece)) + after)
            assert spent < max(1.0 * part / MEGABYTE, 0.3), (name, file_name, before[-40:], piece, part, spent)


def made(parser):
    for beginning in BEGINNINGS:
        for piece in PIECES:
            yield "made.log", beginning, piece, "\n"
    for path in known_logs(parser):
        before, _, after = path.read_text(encoding="utf-8", errors="ignore").rpartition("\n")
        middle = before[: len(before) // 2].rpartition("\n")[0]
        for piece in PIECES:
            yield path.name, middle, piece, before[len(middle) :] + after


@pytest.mark.parametrize("name", a_few(20, [name for name, _ in PARSERS]))
def test_a_hostile_log_takes_linear_time(tmp_path, name):
    cases = list(made(dict(PARSERS)[name]()))
    check(name, tmp_path, random.Random(name).sample(cases, 40), 50_000)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name, _ in PARSERS])
def test_a_hostile_megabyte_takes_under_a_second(tmp_path, name):
    check(name, tmp_path, made(dict(PARSERS)[name]()), MEGABYTE)

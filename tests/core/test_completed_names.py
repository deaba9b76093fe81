"""What completion offers, asked as a shell's script asks."""

from __future__ import annotations

import pytest

from ..at_night import a_few


def offered(cli, line, shell="fish", breaks=""):
    words = line.split(" ")
    env = {"_DECODEBENCH_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": words[-1]}
    env |= {"COMP_LINE": line, "COMP_BREAKS": breaks} if shell == "bash" else {}
    out = cli.cold(env=env).out
    found = [text.split("\t")[0] for text in out.splitlines()]
    return [text.partition(",")[2] if shell == "fish" and text.startswith("plain,") else text for text in found]


@pytest.mark.parametrize(
    ("line", "wanted"),
    a_few(
        6,
        [
            ("decodebench prepare tiny:dr", "tiny:draft"),
            ("decodebench prepare tiny:target -b fau", "faulty"),
            ("decodebench prepare tiny:target -b llama-cpp -q q8", "q8_0"),
            ("decodebench prepare tiny:target -d cu", "cuda:0"),
            ("decodebench export --format par", "parquet"),
            ("decodebench plot --figure roof", "roofline"),
            ("decodebench compare --metric ttf", "ttft_s"),
            ("decodebench report --metric ttf", "ttft_s"),
            ("decodebench help plu", "plugins"),
            ("decodebench help plugins ins", "install"),
            ("decodebench plugins show fau", "faulty"),
            ("decodebench run --launcher lo", "local"),
            ("decodebench run --set fau", "faulty."),
            ("decodebench run --set faulty.step_", "faulty.step_s="),
            ("decodebench run -q fp", "fp32"),
            ("decodebench run -q 4b", "4bit"),
            ("decodebench run -q llama-cpp:q8", "llama-cpp:q8_0"),
            ("decodebench run -q llama-c", "llama-cpp:"),
            ("decodebench run -q llama-cpp:bf", "llama-cpp:bf16"),
            ("decodebench sweep quantis", "quantisations"),
        ],
    ),
)
def test_every_name_is_offered(cli, line, wanted):
    assert wanted in offered(cli, line)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("decodebench run --model=tiny:dr", "draft"),
        ("decodebench run -m tiny:dr", "draft"),
        ("decodebench run --launcher=lo", "local"),
        ("decodebench run --set=faulty.step_", "faulty.step_s="),
    ],
)
def test_bash_gets_what_is_behind_its_last_break(cli, line, wanted):
    assert offered(cli, line, "bash", ":=") == [wanted]


def test_bash_gets_whole_words_where_it_breaks_none(cli):
    assert offered(cli, "decodebench run --model=tiny:dr", "bash") == ["--model=tiny:draft"]

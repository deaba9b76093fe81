"""Faults of published results on speculative decoding, found unasked: an audit of files in the tools' own forms."""

from __future__ import annotations

import json

import pytest

from decodebench.core.api.imports import audit


def found(paths, check):
    return [finding for finding in audit(paths).findings if finding.check == check]


def draft_results(folder, share, first_ttft_ms=70.0):
    """Write repetitions of a target alone and with its draft; ``share`` is what is called acceptance."""
    runs = [
        {
            "run": at,
            "baseline": {"ttft_ms": 50.0, "generation_tps": 40.0, "peak_memory_gb": 1.0},
            "dflash": {
                "ttft_ms": first_ttft_ms if at == 1 else 50.0, "generation_tps": 100.0, "peak_memory_gb": 1.0,
                "tokens_per_cycle": 4.0, "cycles": cycles, "acceptance_ratio": share(cycles, 4 * cycles),
            },
        }
        for at, cycles in enumerate((100, 110, 120), start=1)
    ]  # fmt: skip
    config = {"target_model": "a/B-4B", "draft_model": "c/B-4B-draft", "max_new_tokens": 512, "block_tokens": 8}
    path = folder / "results.json"
    path.write_text(json.dumps({"hardware": {"chip": "M9"}, "config": config, "runs": runs, "summary": {}}))
    return path


def test_an_acceptance_that_is_one_minus_cycles_by_tokens_is_found(tmp_path):
    (finding,) = found([draft_results(tmp_path, lambda cycles, tokens: 1 - cycles / tokens)], "acceptance-of-cycles")
    assert finding.severity == "warning" and len(finding.rows) == 3 and "acceptance_ratio, 0.75" in finding.text
    accepted_of_drafted = draft_results(tmp_path, lambda cycles, tokens: (tokens - cycles) / (7 * cycles))
    assert not found([accepted_of_drafted], "acceptance-of-cycles")


def test_a_first_token_that_takes_several_times_as_long_in_the_first_run_is_found(tmp_path):
    slow = draft_results(tmp_path, lambda *_: 0.5, first_ttft_ms=175.0)
    assert "3.5 times" in found([slow], "cold-starts")[0].text
    assert not found([draft_results(tmp_path, lambda *_: 0.5)], "cold-starts")


def spec_results(folder, rate, length):
    row = {"batch_size": 4, "steps": 3, "topk": 1, "num_draft_tokens": 4}
    metrics = [
        {"Name": "Without draft", "output_throughput": 100.0, "accept_length": 1.0},
        {"Name": "x/draft", "output_throughput": rate, "accept_length": length},
    ]
    content = {"Some-Model": {"gsm8k": {"benchmark_name": "gsm8k", "results": [{**row, "metrics": metrics}]}}}
    path = folder / "data.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("rate", "length", "is_found"), [(354.0, 1.8, True), (179.0, 1.8, False), (354.0, 4.1, False)])
def test_a_speed_up_above_the_acceptance_length_is_found(tmp_path, rate, length, is_found):
    findings = found([spec_results(tmp_path, rate, length)], "speed-ups-above-acceptance")
    assert bool(findings) == is_found
    if is_found:
        assert "3.54 times" in findings[0].text and "1.80 tokens per cycle" in findings[0].text


@pytest.mark.parametrize(("lengths", "falls"), [((1.8, 2.5, 2.4, 2.9, 2.7), 2), ((1.8, 2.4, 2.5), 0)])
def test_an_acceptance_length_that_falls_with_more_draft_tokens_is_found(tmp_path, lengths, falls):
    values = "\n".join(f"    {at}: {length}" for at, length in enumerate(lengths, start=1))
    path = tmp_path / "golden.yaml"
    path.write_text(
        "# dataset: coding | temperature: 1.0 | output_len: 4096\n# key = num_speculative_tokens\n"
        f"_metadata:\n  draft-model: x/draft\nmodel-y:\n  thinking_on:\n{values}\n"
    )
    findings = found([path], "falling-acceptance")
    assert len(findings) == (falls > 0)
    if falls:
        assert len(findings[0].rows) == 2 * falls and "from 2.9 at 4 draft tokens to 2.7 at 5" in findings[0].text

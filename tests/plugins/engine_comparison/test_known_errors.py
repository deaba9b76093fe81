"""The workflow's published mistakes show in its own logs: hosts that reverse an order, one word for two formats."""

from __future__ import annotations

import json

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.findings import findings
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

STEPS = 20


def tinygrad(folder, host, word, rate, bytes_of_weights, uuid):
    """Write a log as tinygrad's example does, of steps that all take as long."""
    milliseconds = 1e3 / rate
    moved = bytes_of_weights * rate / 1e9
    step = (
        f"enqueue in   1.00 ms\ntotal {milliseconds:.2f} ms, {rate:.2f} tok/s, {moved:.2f} GB/s, param {moved:.2f} GB/s"
    )
    text = "".join(f"{step}\n{'a' * (i + 1)}\n" for i in range(STEPS))
    (folder / f"{host}_1B_{word}_seed42_uuid{uuid}.txt").write_text(f"seed = 42\n{text}")


def llama_cpp(folder, host, word, rate, format_name, bits, uuid):
    """Write a wrapper's header and one row of llama-bench."""
    parameters = 1_235_814_432
    row = {
        "build_commit": "0c1e570", "build_number": 1, "backends": "CPU", "model_filename": "Llama-3.2-1B.gguf",
        "model_type": f"llama 1B {format_name}", "model_size": int(parameters * bits / 8), "model_n_params": parameters,
        "n_prompt": 0, "n_gen": STEPS, "n_depth": 0, "test_time": "2025-11-26T06:59:39Z",
        "avg_ns": int(STEPS / rate * 1e9), "stddev_ns": 1, "avg_ts": rate, "stddev_ts": 0.1,
        "samples_ns": [int(STEPS / rate * 1e9 * (1 + i / 1000)) for i in range(3)],
    }  # fmt: skip
    header = "".join(
        f"{key}: {value}\n"
        for key, value in {
            "platform": "Linux", "release": "6.1.0", "device": "default", "username": "user", "hostname": host,
            "size": "1B", "quantize": word, "seed": 42, "uuid": f"uuid{uuid}",
        }.items()
    )  # fmt: skip
    path = folder / f"llamacpp_{host}_1B_{word}_seed42_uuid{uuid}.txt"
    path.write_text(f"{header}{json.dumps(row)}\n")


def found_in(folder):
    report = collate(folder / "out", all_plugins(), intake=Intake([folder / "in"]))
    assert not report.problems
    with Store.open(folder / "out") as store:
        return {finding.check: finding for finding in findings(store, "imported")}


@pytest.fixture
def logs(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_pooling_a_laptop_with_a_phone_reverses_an_order(logs, tmp_path):
    tinygrad(logs, "softmacs", "float16", 33.73, 2.5e9, "00000001")
    tinygrad(logs, "localhost", "float16", 0.65, 2.5e9, "00000002")
    llama_cpp(logs, "localhost", "float16", 3.23, "F16", 16.0, "00000003")
    found = found_in(tmp_path)
    turned = found["reversed-by-hosts"]
    assert turned.severity == "error" and not turned.details  # once, though word and bits both say that they are alike
    assert turned.text.startswith("llama-cpp against tinygrad at float16: decode_tokens_per_s 3.23 tok/s against")
    assert "3.23 tok/s against 0.65 tok/s on localhost, where both ran" in turned.text
    assert "unlike-formats" not in found


def test_formats_are_matched_by_bits_where_their_words_differ(logs, tmp_path):
    tinygrad(logs, "softmacs", "float16", 36.41, 2.5e9, "00000001")
    tinygrad(logs, "localhost", "float16", 0.84, 2.5e9, "00000002")
    llama_cpp(logs, "localhost", "f16", 5.31, "F16", 16.0, "00000003")
    assert "at 16 bits" in found_in(tmp_path)["reversed-by-hosts"].text


def test_an_order_that_holds_on_each_host_is_none(logs, tmp_path):
    for host, factor, at in (("softmacs", 50.0, 1), ("localhost", 1.0, 3)):
        tinygrad(logs, host, "float16", 0.65 * factor, 2.5e9, f"0000000{at}")
        llama_cpp(logs, host, "float16", 3.23 * factor, "F16", 16.0, f"0000000{at + 1}")
    assert "reversed-by-hosts" not in found_in(tmp_path)


@pytest.mark.parametrize(
    ("word", "name", "bits", "is_found"),
    [("nf4", "Q4_K - Medium", 5.18, True), ("int8", "Q8_0", 8.5, True), ("float16", "F16", 16.0, False)],
)
def test_one_word_for_two_formats(logs, tmp_path, word, name, bits, is_found):
    tinygrad(logs, "softmacs", word, 20.0, 1.24e9, "00000001")
    llama_cpp(logs, "softmacs", word, 90.0, name, bits, "00000002")
    found = found_in(tmp_path)
    assert ("unlike-formats" in found) is is_found
    if is_found:
        assert f"{word!r} is not one format: llama-cpp q" in found["unlike-formats"].text
        assert len(found["unlike-formats"].cells) == 2

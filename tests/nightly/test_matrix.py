"""The full matrices: every quantisation on every tiny model, and every cut of a log. `make nightly` runs them."""

from __future__ import annotations

import pytest

from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError, read

UNSCORED = {"score": None, "extracted": None, "reference": None}  # scores come last, so a cut takes them first
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("model", ["tiny:target", "tiny:draft", "random:qwen2-30m", "random:llama-30m"])
def test_float32_agrees_in_both_engines_on_many_problems(cli_for, tmp_path, model):
    (tmp_path / "plan.toml").write_text(
        f"""
rounds = 1
[workload]
model = "{model}"
task = "tiny-gsm"
samples = 200
max_new_tokens = 64
[[cells]]
backend = "transformers"
[[cells]]
backend = "llama-cpp"
quantisation = "f32"
options = {{ kv_cache_type = "f32", flash_attention = "off" }}
"""
    )
    ended = cli_for(tmp_path)("run", tmp_path / "plan.toml", "-o", tmp_path, "--json")
    assert ended.code == 0, ended.err
    parity = ended.json["comparison"]["rows"][1]["parity"]
    assert parity["compared"] == 200
    assert parity["verdict"] in ("identical", "ties only"), parity["divergences"][:3]


def test_every_quantisation_of_the_engine_runs_and_the_harshest_costs_accuracy(cli_for, tmp_path):
    formats = [q.name for q in all_plugins().backend("llama-cpp").quantisations() if "safetensors" in q.reads]
    flags = [part for name in formats for part in ("-q", name)]
    run = ["run", "-b", "llama-cpp", "-m", "tiny:draft", *flags, "--task", "tiny-gsm", "--samples", 500]
    ended = cli_for(tmp_path)(*run, "--rounds", 1, "--set", "n_threads=1", "-o", tmp_path, "--json")
    assert ended.code == 0, ended.err
    accuracy = {
        row["cell"]["quantisation"]: row["accuracy"]["value"]["value"] for row in ended.json["comparison"]["rows"]
    }
    assert set(accuracy) == set(formats)
    assert accuracy["q4_0"] < accuracy["f32"]


def test_a_log_cut_at_every_byte_never_loses_or_invents_a_sample(cli_for, tmp_path):
    run = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 3]
    assert cli_for(tmp_path)(*run, "--rounds", 1, "-o", tmp_path).code == 0
    (log,) = tmp_path.glob("raw/*/*.jsonl")
    whole, content = read(log), log.read_bytes()
    for end in range(len(content)):
        log.write_bytes(content[:end])
        try:
            found = read(log)
        except RawLogError:
            assert content[:end].count(b"\n") == 0, "only a log without a whole first line is unreadable"
            continue
        assert found.run.status in ("incomplete", "ok")
        assert [s.model_copy(update=UNSCORED) for s in found.samples] == [
            s.model_copy(update=UNSCORED) for s in whole.samples[: len(found.samples)]
        ]

"""Synthetic raw logs with exactly known times."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from decodebench.core.records.raw_log import RawLogWriter

ENVIRONMENT = {
    "hostname": "bench", "username": "user", "platform": "Linux", "release": "6.1", "machine": "x86_64",
    "cpu_model": "Test CPU", "cores_used": 2, "memory_bytes": 8_000_000_000, "python": "3.12.0",
}  # fmt: skip


def step(index, t_s, step_s, ids, **more):
    return {"index": index, "t_s": t_s, "step_s": step_s, "tokens": len(ids), "token_ids": list(ids), **more}


def plain_steps(n=5, ttft=0.5, gap=0.1, first_id=10, **more):
    """n single-token steps: the first after ``ttft``, then one every ``gap`` seconds."""
    return [step(i, ttft + i * gap, ttft if i == 0 else gap, [first_id + i], **more) for i in range(n)]


def sample(index, steps, **more):
    ids = [token for s in steps for token in s.get("token_ids") or ()]
    content = {
        "index": index, "sample_id": f"p{index}", "prompt_tokens": 20, "prompt_hash": f"{index:016x}",
        "output_tokens": sum(s["tokens"] for s in steps), "output_ids": ids, "text": " ".join(map(str, ids)),
        "finish": "stop", "duration_s": steps[-1]["t_s"] if steps else None, "steps": steps,
    }  # fmt: skip
    return {**content, **more}


def run_id(*parts):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, repr(parts)))


class Logs:
    """Writes raw logs into an output folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, cell="a", round=0, content=None, name=None, end=True, load=None, scores=(), status="ok", **run):
        """Write one round; ``end=False`` leaves a ``.part`` without its end line. Returns the file's path."""
        identity = {
            "run_id": run_id(cell, round), "experiment": "exp", "cell_id": f"cell-{cell}", "round": round,
            "order": ord(cell[0]), "started_at": f"2026-01-01T00:00:{round:02d}+00:00", "backend": cell,
            "backend_version": "1.0", "model": "m", "model_hash": "f" * 64, "quantisation": "f16",
            "bits_per_weight": 16.0, "device": "cpu", "options": {}, "samples": 2, "warmup": 0, "max_new_tokens": 64,
            "environment": ENVIRONMENT,
        }  # fmt: skip
        content = [sample(i, plain_steps()) for i in range(2)] if content is None else content
        path = self.folder / "raw" / cell / (name or f"{cell}_{round}.jsonl")
        with RawLogWriter(path) as log:
            log.write("run", {"schema": 1, **identity, **run})
            log.write("load", {"load_s": 1.5, "weight_bytes": 1000, **(load or {})})
            for each in content:
                log.write("sample", {key: value for key, value in each.items() if key != "steps"})
                for line in each["steps"]:
                    log.write("step", {"sample": each["index"], **line})
            for index, score in enumerate(scores):
                log.write("score", {"index": index, "score": score, "extracted": None})
            if not end:
                log.abandon()
                return log.part
            log.write("end", {"status": status, "peak_rss_bytes": 5000})
            log.close()
        return path

    def speeds(self, cell, gaps, samples=3, **run):
        """Write one round per gap; every sample's tokens are the same, only the speed differs."""
        for index, gap in enumerate(gaps):
            content = [sample(i, plain_steps(n=6, gap=gap * (1 + 0.1 * i))) for i in range(samples)]
            self.write(cell, index, content, **{"samples": samples, **run})

    def parity(self, *lines, name="scores.jsonl"):
        path = self.folder / "raw" / "parity" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"type": "parity", "schema": 1, **line}) + "\n" for line in lines))
        return path


@pytest.fixture
def logs(tmp_path):
    return Logs(tmp_path)


@pytest.fixture(scope="session")
def make_logs():
    """The class, for tests that need several folders."""
    return Logs


@pytest.fixture(scope="session")
def make_sample():
    """Build one sample with its steps: ``make_sample(index, steps, **fields)``."""
    return sample


@pytest.fixture(scope="session")
def make_steps():
    """Build single-token steps: ``make_steps(n=, ttft=, gap=, first_id=, **fields)``."""
    return plain_steps

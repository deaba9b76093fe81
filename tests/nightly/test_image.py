"""The Dockerfile, built and run, where Docker is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TAG = "decodebench-test"
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(
    shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode != 0,
    reason="no Docker daemon",
)
def test_the_image_has_the_engines_and_measures():
    docker("build", "--tag", TAG, str(ROOT))
    listed = json.loads(docker("run", "--rm", TAG, "backends", "--json"))
    missing = {backend["name"]: backend["reason"] for backend in listed if not backend["available"]}
    assert set(missing) <= {"vllm", "vllm-offline", "llama-server"}, missing
    run = ["run", "-b", "transformers", "-b", "llama-cpp", "-b", "tinygrad", "-m", "tiny:draft", "--task", "tiny-gsm"]
    measured = json.loads(docker("run", "--rm", TAG, *run, "--samples", "2", "--rounds", "1", "--json"))
    assert {row["cell"]["backend"] for row in measured["comparison"]["rows"]} == {
        "transformers",
        "llama-cpp",
        "tinygrad",
    }

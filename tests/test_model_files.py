"""Models that cannot be opened are refused by what their files say, before anything is made or measured."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from decodebench import ModelCache
from decodebench.core.api.model_check import check_model
from decodebench.core.api.plan_content import plan_content
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build

from .gguf_files import small_llama
from .refusals import refused

pytestmark = pytest.mark.skipif(find_spec("gguf") is None, reason="needs gguf, which unpacks weights")
STORED_ONLY = ("q2_k_s", "iq3_m", "iq2_xxs", "iq1_s", "tq1_0", "mxfp4_moe")


@pytest.fixture(scope="module")
def registry():
    return all_plugins()


@pytest.fixture
def planned(registry, tmp_path):
    """Return the cells of backends and formats, as `run` expands them."""

    def make(backend, model, *quantisations, **workload):
        settings = {"backends": [backend], "quantisations": quantisations, "model": str(model)}
        settings |= {"prompt_tokens": 4, "output_tokens": 2, "samples": 1, **workload}
        content, _ = plan_content(None, settings, registry)
        return expand(build(content, "test"), registry, ModelCache(tmp_path / "cache")).cells

    return make


def verdicts(model):
    return {verdict.backend: verdict for verdict in check_model(str(model)).backends}


@pytest.mark.parametrize("quantisation", STORED_ONLY)
def test_formats_that_are_not_made_run_only_as_they_are_stored(planned, tmp_path, quantisation):
    plain = small_llama(tmp_path / "plain.gguf")
    for backend in ("llama-cpp", "llama-server"):
        with refused("quantisation-unsupported", quantisation, "made are f16, f32"):
            planned(backend, plain, quantisation)
        assert not {*STORED_ONLY} & {*verdicts(plain)[backend].formats}
    stored = small_llama(tmp_path / "stored.gguf", general__file_type=24)  # iq1_s
    assert verdicts(stored)["llama-cpp"].formats == ("iq1_s", "f16", "f32", "bf16")
    assert planned("llama-cpp", stored)[0].quantisation == "iq1_s"


def test_a_format_that_tinygrad_cannot_unpack_is_not_opened_as_it_is(tmp_path):
    found = verdicts(small_llama(tmp_path / "m.gguf", "iq4_nl", general__file_type=25))["tinygrad"]
    assert (found.opens, found.formats[0]) == ("converted", "float32")
    assert {"f32", "f16", "bf16"} <= {*found.formats} and not {"gguf", "q4_0", "iq4_nl"} & {*found.formats}

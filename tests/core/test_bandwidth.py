"""The machine's rates are real, counted honestly, and measured once."""

from __future__ import annotations

import time

import numpy as np
import pytest

from decodebench.core.measure.machine.bandwidth import MachineRates, machine_rates
from decodebench.core.measure.machine.environment import capture
from decodebench.core.sdk.cores import cores

DRAM = str(2**28)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("rates")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("DECODEBENCH_CACHE", str(cache))


@pytest.fixture(scope="module")
def rates(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(cache))
        return machine_rates("host", cores())


@pytest.fixture
def quiet_rates(rates):
    if not rates.rates_are_quiet:
        pytest.skip("others kept the machine busy while its rates were measured, as the rates say")
    return rates


def fastest(work, times=5) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def test_ladders_fall_from_cache_to_dram(rates):
    for ladder in (rates.memory_bandwidth, rates.memory_bandwidth_1_thread):
        sizes = sorted(map(int, ladder))
        assert sizes[0] <= 2**18 and sizes[-1] >= 2**28
        assert all(1e8 < rate < 1e14 for rate in ladder.values())
        assert max(ladder[str(size)] for size in sizes[:3]) > ladder[DRAM]
    assert rates.memory_bandwidth.keys() == rates.memory_bandwidth_1_thread.keys()


def test_more_threads_are_never_slower_than_the_best_of_them(rates):
    assert all(rates.memory_bandwidth[size] >= rate for size, rate in rates.memory_bandwidth_1_thread.items())


def test_one_thread_reads_what_a_plain_pass_over_an_array_reads(quiet_rates):
    array = np.ones(2**28 // 4, np.int32)
    plain = array.nbytes / fastest(array.max)
    assert 0.4 < quiet_rates.memory_bandwidth_1_thread[DRAM] / plain < 2.5


def test_the_matrix_rate_is_that_of_a_plain_product(quiet_rates):
    a = np.ones((1024, 1024), np.float32)
    plain = 2 * 1024**3 / fastest(lambda: a @ a)
    assert 0.3 < quiet_rates.matrix_flops_per_s / plain < 5


def test_a_host_is_measured_once(rates):
    start = time.perf_counter()
    assert machine_rates("host", cores()) == rates, "a second measurement would differ"
    assert time.perf_counter() - start < 0.05


@pytest.mark.parametrize("content", ['{"memory_bandwidth": {"262144": 1', '{"262144": 1.0}', ""])
def test_an_unreadable_file_is_measured_again(rates, cache, content):
    (file,) = cache.glob("*host*")
    whole = file.read_text()
    try:
        file.write_text(content)
        again = machine_rates("host", cores())
        assert again.memory_bandwidth[DRAM] > 1e8
        assert MachineRates.model_validate_json(file.read_text()) == again
    finally:
        file.write_text(whole)


def test_another_number_of_threads_is_another_measurement(rates, cache):
    alone = machine_rates("alone", 1)
    assert alone.memory_bandwidth == alone.memory_bandwidth_1_thread
    assert alone != rates and len(list(cache.glob("*.json"))) >= 2


def test_the_environment_holds_the_rates():
    first, second = capture(anonymise=True), capture(anonymise=True)
    assert first.memory_bandwidth[DRAM] > 0 and first.memory_bandwidth_1_thread[DRAM] > 0
    assert (first.matrix_flops_per_s or 0) > 1e8
    assert first.memory_bandwidth == second.memory_bandwidth
    assert capture(anonymise=True, with_bandwidth=False).memory_bandwidth == {}

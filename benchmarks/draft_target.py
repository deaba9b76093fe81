"""Draft/target decoding measured: against the target alone, against what its costs predict, and over a network.

Everything runs in one process but the server of the last part, the sides of a comparison in turn on every prompt and in
every round. A rate is tokens after the first, divided by the time from the first to the last token. Intervals are 95 %
t intervals over rounds of the logarithm of the ratio. The untrained target gets drafts that are right with the
probability ``--acceptance``; all of the draft's work is done nevertheless.

The prediction is tau / (K c + v): c is a draft's time per token and v a verification of K + 1 tokens, both in decode
steps of the target, all three measured by themselves, outside the loop. Leviathan's is (1 - a^(K + 1)) / ((1 - a)
(K c + 1)), arXiv 2211.17192, theorem 3.8.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from itertools import islice
from random import Random

import click
import torch

from decodebench import ModelCache, Request
from decodebench.collate.statistics.intervals import t_interval
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.machine.environment import capture
from decodebench.core.sdk.cores import cores
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.tokenizer import Codec
from decodebench.plugins.draft_target.decoder import Decoder
from decodebench.plugins.draft_target.draft_length import DraftLength
from decodebench.plugins.draft_target.drafters import Drafter
from decodebench.plugins.draft_target.drafters.small_model import SmallModel
from decodebench.plugins.draft_target.models.own_layers import OwnLayers
from decodebench.plugins.draft_target.options import DraftTargetOptions
from decodebench.plugins.draft_target.proposal import NOTHING, Proposal
from decodebench.plugins.draft_target.rules import rule_for
from decodebench.plugins.draft_target.target_session import TargetSession
from decodebench.plugins.draft_target.verifier import EmbeddedVerifier, Verifier

TRAINED, UNTRAINED = ("tiny:target", "tiny:draft"), ("random:qwen3-100m", "random:qwen3-100m-draft")


class Forced(Drafter):
    """Does the inner drafter's work, then answers from a script, wrong as often as it is told to be."""

    def __init__(self, inner: Drafter, acceptance: float, vocabulary: int) -> None:
        self._inner, self._acceptance, self._vocabulary = inner, acceptance, vocabulary
        self.script: list[int] = []

    def begin(self, request: Request) -> None:
        self._inner.begin(request)

    def draft(self, context: Sequence[int], count: int) -> Proposal:
        self._inner.draft(context, count)
        return Proposal((tuple(self._token(at) for at in range(len(context), len(context) + count)),))

    def _token(self, position: int) -> int:
        right = self.script[position] if position < len(self.script) else 0
        is_right = Random(position).random() < self._acceptance
        return right if is_right else (right + 1) % self._vocabulary

    def end(self) -> None:
        self._inner.end()


class Pair:
    """A target, its draft and prompts."""

    def __init__(self, target: str, draft: str, prompts: int, tokens: int) -> None:
        registry, cache = all_plugins(), ModelCache()
        found, small = (resolve(name, registry.models, cache) for name in (target, draft))
        self.name, self.resolved, self.tokens = target, found, tokens
        self.target = OwnLayers(found.path, torch.float32, "cpu")
        self.draft = OwnLayers(small.path, torch.float32, "cpu")
        codec = Codec(found.path, None)
        samples = islice(registry.task("tiny-gsm").samples(prompts, 42), prompts)
        ids = [tuple(codec.encode(sample.prompt or "")) for sample in samples]
        stop = codec.stop_ids() if target.startswith("tiny:") else ()
        self.requests = [Request(one, tokens, stop_token_ids=stop, ignore_eos=not stop) for one in ids]
        rule = partial(rule_for, None)
        self.verifier = EmbeddedVerifier(self.target, rule, is_concurrent=False)
        self.drafter = SmallModel(self.draft, self.target.vocabulary)
        self.alone = [self.generate(None, 0, request)[0] for request in self.requests]

    def generate(
        self, drafter: Drafter | None, k: int, request: Request, verifier: Verifier | None = None
    ) -> tuple[list[int], float, list]:
        """Return ids, decode seconds, and the steps after the first."""
        decoder = Decoder(drafter, verifier or self.verifier, partial(DraftLength, k))
        stamps, steps = [], []
        for step in decoder.generate(request):
            stamps.append(time.perf_counter())
            steps.append(step)
        ids = [token for step in steps for token in step.token_ids]
        return ids, stamps[-1] - stamps[0], steps[1:]


@dataclass
class Speedup:
    """A draft length against the target alone."""

    target: str
    k: int
    acceptance: float
    tau: float
    alone_tokens_per_s: float
    tokens_per_s: float
    speedup: float
    low: float
    high: float
    c: float
    v: float
    predicted: float
    leviathan: float


def measure_speedup(pair: Pair, k: int, rounds: int, acceptance: float | None) -> Speedup:
    """Run both sides in turn on every prompt."""
    forced = None if acceptance is None else Forced(pair.drafter, acceptance, pair.target.vocabulary)
    ratios, rates, alone_rates, steps, prices = [], [], [], [], []
    for number in range(rounds + 1):
        times = {"alone": 0.0, "drafted": 0.0}
        tokens = 0
        for request, expected in zip(pair.requests, pair.alone, strict=True):
            if forced:
                forced.script = [*request.prompt_ids, *expected]
            ids, seconds, _ = pair.generate(None, 0, request)
            times["alone"] += seconds
            again, seconds, rounds_of = pair.generate(forced or pair.drafter, k, request)
            times["drafted"] += seconds
            assert again == ids == expected, "drafts changed the output"
            tokens += len(ids) - 1
            if number:
                steps += rounds_of if len(ids) < pair.tokens else rounds_of[:-1]
        if number:  # the first round warms up
            ratios.append(times["alone"] / times["drafted"])
            rates.append(tokens / times["drafted"])
            alone_rates.append(tokens / times["alone"])
            prices.append(costs(pair, k))  # in every round, so that a machine that slows down slows both sides
    interval = t_interval([math.log(ratio) for ratio in ratios])
    judged = sum(step.accepted + (step.accepted < step.drafted) for step in steps)
    alpha = sum(step.accepted for step in steps) / judged
    tau = sum(len(step.token_ids) for step in steps) / len(steps)
    c = statistics.median(draft_s / decode_s for decode_s, draft_s, _ in prices)
    v = statistics.median(verify_s / decode_s for decode_s, _, verify_s in prices)
    expected_tokens = k + 1 if alpha == 1 else (1 - alpha ** (k + 1)) / (1 - alpha)
    return Speedup(
        target=pair.name,
        k=k,
        acceptance=alpha,
        tau=tau,
        alone_tokens_per_s=statistics.geometric_mean(alone_rates),
        tokens_per_s=statistics.geometric_mean(rates),
        speedup=math.exp(interval.value),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        c=c,
        v=v,
        predicted=tau / (k * c + v),
        leviathan=expected_tokens / (k * c + 1),
    )


def costs(pair: Pair, k: int) -> tuple[float, float, float]:
    """Return seconds of a decode step, of drafting one token and of verifying k: each by itself, in mid-text."""
    request, ids = pair.requests[0], pair.alone[0]
    context = [*request.prompt_ids, *ids[: len(ids) // 2]]
    rule = rule_for(None, 0.0)
    wrong = Proposal((tuple((token + 1) % pair.target.vocabulary for token in ids[:k]),))
    session = TargetSession(pair.target, len(context) + k + 8)
    session.extend(0, context)

    def verify(proposal: Proposal) -> None:
        session.extend(len(context), ())
        session.verify(proposal, rule, request)

    pair.drafter.begin(Request(request.prompt_ids, len(ids) + k))
    found = tuple(
        median_s(work)
        for work in (partial(verify, NOTHING), lambda: pair.drafter.draft(context, k), partial(verify, wrong))
    )
    pair.drafter.end()
    session.close()
    return found[0], found[1] / k, found[2]


def median_s(work: Callable[[], object], times: int = 24) -> float:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[times // 6 :])


@dataclass
class Wire:
    """Embedded against loopback TCP, with the same drafts."""

    target: str
    k: int
    rounds: int
    embedded_tokens_per_s: float
    tcp_tokens_per_s: float
    wire_ms_median: float
    wire_ms_p95: float
    verify_ms_median: float


def measure_wire(pair: Pair, k: int, rounds: int, threads: int) -> Wire:
    """Start a server of the target and compare."""
    from decodebench.plugins.draft_target.remote_verifier import RemoteVerifier

    command = ["serve-target", "-m", pair.name, "--address", "localhost:0", "--threads", str(threads)]
    server = subprocess.Popen([sys.executable, "-m", "decodebench", *command], stderr=subprocess.PIPE, text=True)
    try:
        address = next(json.loads(line)["address"] for line in server.stderr if '"serving"' in line)
        far = RemoteVerifier(DraftTargetOptions(server=address), pair.resolved)
        tokens, times, steps = 0, [0.0, 0.0], []
        for number in range(rounds + 1):
            for request in pair.requests:
                for side, verifier in enumerate((pair.verifier, far)):
                    ids, seconds, rounds_of = pair.generate(pair.drafter, k, request, verifier)
                    times[side] += seconds if number else 0.0
                    steps += rounds_of if number and side else []
                tokens += (len(ids) - 1) if number else 0
        far.close()
    finally:
        server.terminate()
        server.wait()
    wire = sorted(1e3 * step.wire_s for step in steps)
    return Wire(
        target=pair.name,
        k=k,
        rounds=len(steps),
        embedded_tokens_per_s=tokens / times[0],
        tcp_tokens_per_s=tokens / times[1],
        wire_ms_median=statistics.median(wire),
        wire_ms_p95=wire[int(0.95 * len(wire))],
        verify_ms_median=statistics.median(1e3 * step.verify_s for step in steps),
    )


def show(speedups: Sequence[Speedup], wire: Wire) -> None:
    print("| target | K | a | tau | alone | drafted | speed-up | predicted | Leviathan | c | v |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for one in speedups:
        rates = f"{one.alone_tokens_per_s:.0f} | {one.tokens_per_s:.0f}"
        ratio = f"{one.speedup:.2f} ({one.low:.2f} to {one.high:.2f})"
        print(
            f"| {one.target} | {one.k} | {one.acceptance:.2f} | {one.tau:.2f} | {rates} | {ratio} | "
            f"{one.predicted:.2f} | {one.leviathan:.2f} | {one.c:.2f} | {one.v:.2f} |"
        )
    network = "network, median | network, 95th percentile"
    print(f"\n| target | K | verify cycles | embedded | loopback TCP | {network} | verification |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    rates = f"{wire.embedded_tokens_per_s:.0f} | {wire.tcp_tokens_per_s:.0f}"
    print(
        f"| {wire.target} | {wire.k} | {wire.rounds} | {rates} | "
        f"{wire.wire_ms_median:.2f} ms | {wire.wire_ms_p95:.2f} ms | {wire.verify_ms_median:.2f} ms |"
    )


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--prompts", default=8, show_default=True)
@click.option("--large-prompts", default=2, show_default=True)
@click.option("--tokens", default=96, show_default=True, help="Token limit.")
@click.option("--acceptance", default=0.8, show_default=True, help="Of the drafts for the untrained target.")
@click.option("--lengths", default="3,5,8", show_default=True, help="K, separated by commas.")
@click.option("--threads", default=None, type=int, help="CPU threads.  [default: the physical cores]")
@click.option("--json", "as_json", is_flag=True)
def main(
    rounds: int,
    prompts: int,
    large_prompts: int,
    tokens: int,
    acceptance: float,
    lengths: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure draft/target decoding."""
    threads = threads or cores()
    torch.set_num_threads(threads)
    trained, untrained = Pair(*TRAINED, prompts, tokens), Pair(*UNTRAINED, large_prompts, tokens)
    wanted = [int(k) for k in lengths.split(",")]
    speedups = [measure_speedup(trained, k, rounds, None) for k in wanted]
    speedups += [measure_speedup(untrained, k, rounds, acceptance) for k in wanted]
    wire = measure_wire(trained, 5, rounds, threads)
    if as_json:
        print(json.dumps({"speedups": [asdict(one) for one in speedups], "wire": asdict(wire)}, indent=2))
        return
    machine = capture(anonymise=False)
    host = f"{machine.cpu_model}, {machine.cores_used} cores"
    print(f"{date.today()}, {host}, torch {torch.__version__}, {threads} threads\n")
    show(speedups, wire)


if __name__ == "__main__":
    main()

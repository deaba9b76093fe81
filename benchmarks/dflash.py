"""The DFlash loop measured: against a straightforward loop, against decoding token by token, and tree against batch.

Everything runs in one process, the sides of a comparison in turn on every prompt and in every round. A rate is tokens
after the first, divided by the time from the first to the last token. Intervals are 95 % t intervals over rounds of the
logarithm of the ratio. ``--acceptance`` gives the untrained pair drafts that are right with that probability, and all
of the draft's work is done nevertheless.

The cost model: a cycle commits tau tokens, so the speed-up over block 1 is tau x (time of a step at block 1) / (time of
a cycle).
"""

from __future__ import annotations

import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice
from pathlib import Path

import click
from plain_dflash import PlainLoop

from decodebench import ModelCache, Request
from decodebench.collate.statistics.intervals import t_interval
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.machine.environment import capture
from decodebench.core.sdk.cores import cores
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.tokenizer import Codec
from decodebench.plugins.dflash.backend import DFlashBackend
from decodebench.plugins.dflash.decoder import Decoder
from decodebench.plugins.dflash.draft import Draft
from decodebench.plugins.dflash.drafters import Drafter
from decodebench.plugins.dflash.drafters.block_diffusion import BlockDiffusionDrafter
from decodebench.plugins.dflash.drafters.scripted import ScriptedDrafter
from decodebench.plugins.dflash.options import DFlashOptions
from decodebench.plugins.dflash.target import Target

TINY, LARGE = "tiny:target", "random:qwen3-100m"


@dataclass
class Sample:
    """One generation: ids, decode seconds, cycles, and the mean seconds per cycle spent drafting and verifying."""

    ids: list[int]
    seconds: float
    cycles: int
    draft_s: float = 0.0
    verify_s: float = 0.0
    verified: int = 0

    @property
    def rate(self) -> float:
        return (len(self.ids) - 1) / self.seconds


@dataclass
class Ratio:
    """Two sides on the same prompts: rates in tokens/s (geometric means over rounds) and their ratio."""

    model: str
    ours: str
    theirs: str
    rounds: int
    rate: float
    other_rate: float
    ratio: float
    low: float
    high: float
    tau: float
    note: str = ""


class Pair:
    """A target and its draft, and prompts to continue."""

    def __init__(self, name: str, device: str, prompts: int, tokens: int) -> None:
        import torch

        registry, cache = all_plugins(), ModelCache()
        model = resolve(name, registry.models, cache)
        draft = resolve(registry.models[name].companions["dflash"], registry.models, cache)
        self.name, self.folder, self.draft_folder = name, model.path, draft.path
        self.target = Target(model.path, torch.float32, device)
        self.drafter = BlockDiffusionDrafter(Draft(self.draft_folder, torch.float32, device), self.target)
        self.tokens, self.device = tokens, device
        codec = Codec(model.path, DFlashBackend())
        self.stops = codec.stop_ids() if name == TINY else ()
        if name == TINY:
            task = registry.task("tiny-gsm")
            self.prompts = [codec.encode(sample.prompt) for sample in islice(task.samples(prompts, 42), prompts)]
        else:
            chooser = random.Random(1)
            self.prompts = [[chooser.randrange(400) for _ in range(32)] for _ in range(prompts)]

    def request(self, prompt: Sequence[int]) -> Request:
        return Request(tuple(prompt), self.tokens, stop_token_ids=tuple(self.stops))

    def run(self, prompt: Sequence[int], block_size: int, drafter: Drafter | None = None, **options: object) -> Sample:
        """Decode one prompt with our loop; block 1 has no draft."""
        chosen = None if block_size == 1 else drafter or self.drafter
        settings = DFlashOptions.model_validate({"block_size": block_size, **options})
        ids: list[int] = []
        steps = []
        began = 0.0
        for step in Decoder(self.target, chosen, settings, block_size).generate([self.request(prompt)]):
            began = began or time.perf_counter()
            ids += step.token_ids
            steps.append(step)
        seconds = time.perf_counter() - began
        cycles = steps[1:]
        draft_s, verify_s = (
            statistics.fmean([getattr(s, part) or 0.0 for s in cycles]) for part in ("draft_s", "verify_s")
        )
        verified = max((int((s.trace or {}).get("verified_tokens", 0)) for s in cycles), default=0)
        return Sample(ids, seconds, len(cycles), draft_s, verify_s, verified)

    def scripted(self, prompt: Sequence[int], acceptance: float) -> ScriptedDrafter:
        """Return a drafter that does the draft's work and is right as often as asked."""
        script = [*prompt, *self.run(prompt, 1).ids]
        vocabulary = self.target.config.vocab
        return ScriptedDrafter(script, acceptance, vocabulary, inner=self.drafter)


def interleaved(sides: dict[str, Callable[[int], Sample]], prompts: int, rounds: int) -> dict[str, list[list[Sample]]]:
    """Run every side on every prompt, in a shuffled order, ``rounds`` times after one to warm up."""
    found: dict[str, list[list[Sample]]] = {name: [] for name in sides}
    for index in range(rounds + 1):
        samples: dict[str, list[Sample]] = {name: [] for name in sides}
        for prompt in range(prompts):
            order = list(sides)
            random.Random(f"{index}:{prompt}").shuffle(order)
            for name in order:
                samples[name].append(sides[name](prompt))
        if index > 0:
            for name in sides:
                found[name].append(samples[name])
        print(f"round {index}/{rounds}", file=sys.stderr)
    return found


def round_rate(samples: Sequence[Sample]) -> float:
    """Tokens per second over all samples of a round."""
    return sum(len(s.ids) - 1 for s in samples) / sum(s.seconds for s in samples)


def tau(samples: Sequence[Sample]) -> float:
    """Tokens per cycle, over all samples."""
    return sum(len(s.ids) - 1 for s in samples) / sum(s.cycles for s in samples)


def compare(model: str, names: tuple[str, str], found: dict[str, list[list[Sample]]], note: str = "") -> Ratio:
    """Hold one side against another; the rounds are the replicates."""
    ours, theirs = ([round_rate(samples) for samples in found[name]] for name in names)
    logs = t_interval([math.log(a / b) for a, b in zip(ours, theirs, strict=True)]).exp()
    return Ratio(
        model,
        *names,
        rounds=len(ours),
        rate=statistics.geometric_mean(ours),
        other_rate=statistics.geometric_mean(theirs),
        ratio=logs.value or math.nan,
        low=logs.low or math.nan,
        high=logs.high or math.nan,
        tau=tau(found[names[0]][0]),
        note=note,
    )


def against_plain(pair: Pair, block_size: int, rounds: int, acceptance: float | None) -> Ratio:
    """Our loop against the straightforward one, with the same drafts."""
    plain = PlainLoop(pair.folder, pair.draft_folder, pair.device)
    drafters = None if acceptance is None else [pair.scripted(prompt, acceptance) for prompt in pair.prompts]

    def ours(index: int) -> Sample:
        return pair.run(pair.prompts[index], block_size, drafters[index] if drafters else None)

    def theirs(index: int) -> Sample:
        script = drafters[index].token if drafters else None
        return Sample(*plain.generate(pair.prompts[index], pair.tokens, block_size, pair.stops, script))

    found = interleaved({"ours": ours, "straightforward": theirs}, len(pair.prompts), rounds)
    same = [a.ids == b.ids for a, b in zip(found["ours"][0], found["straightforward"][0], strict=True)]
    taus = f"tau {tau(found['ours'][0]):.2f} and {tau(found['straightforward'][0]):.2f}"
    return compare(
        pair.name,
        ("ours", "straightforward"),
        found,
        f"block {block_size}, {taus}, {sum(same)} of {len(same)} outputs equal",
    )


def block_curve(pair: Pair, sizes: Sequence[int], rounds: int, acceptance: float | None) -> list[dict[str, object]]:
    """The speed-up over block 1 at each block size, beside what the cost model says."""
    drafters = None if acceptance is None else [pair.scripted(prompt, acceptance) for prompt in pair.prompts]

    def side(size: int) -> Callable[[int], Sample]:
        return lambda at: pair.run(pair.prompts[at], size, drafters[at] if drafters else None)

    found = interleaved({str(size): side(size) for size in (1, *sizes)}, len(pair.prompts), rounds)
    step_s = 1 / statistics.geometric_mean([round_rate(samples) for samples in found["1"]])
    rows = []
    for size in sizes:
        ratio = compare(pair.name, (str(size), "1"), found)
        everything = [sample for samples in found[str(size)] for sample in samples]
        cycle_s = sum(s.seconds for s in everything) / sum(s.cycles for s in everything)
        rows.append(
            {
                "model": pair.name,
                "block_size": size,
                "tau": ratio.tau,
                "tokens_per_s": ratio.rate,
                "draft_ms": 1e3 * statistics.fmean([s.draft_s for s in everything]),
                "verify_ms": 1e3 * statistics.fmean([s.verify_s for s in everything]),
                "cycle_ms": 1e3 * cycle_s,
                "step_1_ms": 1e3 * step_s,
                "predicted": ratio.tau * step_s / cycle_s,
                "speedup": ratio.ratio,
                "low": ratio.low,
                "high": ratio.high,
            }
        )
    return rows


def tree_against_batch(pair: Pair, rounds: int) -> Ratio:
    """Four candidates of eight tokens that share five: as a tree, and as a batch."""
    rule = {"candidate_mode": "fixed_prefix_rank", "fixed_prefix_len": 5, "branch_top_k": 4, "max_candidates": 4}

    def side(layout: str) -> Callable[[int], Sample]:
        return lambda at: pair.run(pair.prompts[at], 8, verify=layout, **rule)

    found = interleaved({"tree": side("tree"), "batch": side("batch")}, len(pair.prompts), rounds)
    nodes = {name: max(s.verified for s in found[name][0]) for name in found}
    same = all(a.ids == b.ids for a, b in zip(found["tree"][0], found["batch"][0], strict=True))
    verify = {name: 1e3 * statistics.fmean([s.verify_s for r in found[name] for s in r]) for name in found}
    note = (
        f"{nodes['tree']} nodes against {nodes['batch']}, verification {verify['tree']:.2f} ms against "
        f"{verify['batch']:.2f} ms, outputs {'equal' if same else 'DIFFERENT'}"
    )
    return compare(pair.name, ("tree", "batch"), found, note)


def ratio_table(rows: Sequence[Ratio]) -> list[str]:
    lines = [
        "| model | ours | against | ours tokens/s | other tokens/s | ratio (95 % interval) | |",
        "|" + " --- |" * 7,
    ]
    for r in rows:
        cells = [r.model, r.ours, r.theirs, f"{r.rate:.0f}", f"{r.other_rate:.0f}"]
        cells += [f"{r.ratio:.2f} ({r.low:.2f} to {r.high:.2f})", r.note]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def curve_table(rows: Sequence[dict[str, object]]) -> list[str]:
    head = ["model", "block", "tau", "tokens/s", "draft ms", "verify ms", "cycle ms", "step at block 1 ms"]
    head += ["tau x step / cycle", "speed-up over block 1 (95 % interval)"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [str(row["model"]), str(row["block_size"]), f"{row['tau']:.2f}", f"{row['tokens_per_s']:.0f}"]
        cells += [f"{row[name]:.2f}" for name in ("draft_ms", "verify_ms", "cycle_ms", "step_1_ms", "predicted")]
        cells.append(f"{row['speedup']:.2f} ({row['low']:.2f} to {row['high']:.2f})")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


@click.command()
@click.option("--rounds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--prompts", type=click.IntRange(1), default=8, show_default=True, help="Prompts on tiny:target.")
@click.option("--large-prompts", type=click.IntRange(1), default=2, show_default=True, help=f"Prompts on {LARGE}.")
@click.option("--tokens", type=click.IntRange(8), default=96, show_default=True, help="Token limit of a generation.")
@click.option(
    "--acceptance", type=click.FloatRange(0, 1), default=0.85, show_default=True, help=f"Of the drafts on {LARGE}."
)
@click.option("--threads", type=click.IntRange(1), default=cores(), show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write every figure there, too.")
def main(
    rounds: int,
    prompts: int,
    large_prompts: int,
    tokens: int,
    acceptance: float,
    threads: int,
    device: str,
    file: Path | None,
) -> None:
    """Measure the DFlash backend."""
    import torch

    torch.set_num_threads(threads)
    tiny, large = Pair(TINY, device, prompts, tokens), Pair(LARGE, device, large_prompts, tokens)
    loops = [against_plain(tiny, 8, rounds, None), against_plain(large, 8, rounds, acceptance)]
    curve = block_curve(tiny, (2, 4, 8, 12, 16), rounds, None)
    curve += block_curve(large, (2, 4, 8, 12, 16, 24), rounds, acceptance)
    layouts = [tree_against_batch(tiny, rounds)]
    machine = capture(anonymise=True, with_bandwidth=False)
    command = f"python benchmarks/dflash.py --rounds {rounds} --prompts {prompts} --large-prompts {large_prompts}"
    command += f" --tokens {tokens} --acceptance {acceptance} --threads {threads} --device {device}"
    where = f"{machine.cpu_model}, {machine.cores_used} cores" if device == "cpu" else ", ".join(machine.gpu)
    click.echo(f"`{command}`, {date.today()}, {where}, torch {torch.__version__}\n")
    click.echo("\n".join([*ratio_table(loops + layouts), "", *curve_table(curve)]))
    if file is not None:
        content = {"ratios": [asdict(r) for r in loops + layouts], "curve": curve}
        file.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()

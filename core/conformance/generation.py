"""Checks of what a backend commits: the same each time, within its limits, counted and timed as the contract says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..isolation.processes.messages import Line
from ..sdk.scoring import is_tie
from .check import check
from .outcome import Broken, NotApplicable
from .outputs import Generation, counted, parting
from .subject import Subject

_BURST_FIRST_S = 0.02  # a shorter prefill is too short to tell a burst from a quick model
_BURST_SHARE = 0.01
_BURST_STEPS = 8
_CLOCK_SLACK_S = 0.002
_OWN_CLOCKS = ("draft_s", "verify_s", "wire_s", "enqueue_s", "engine_s")


@check("Clear every cache between requests, seed randomness from Request.seed alone, and let no thread race decide.")
def greedy_is_deterministic(subject: Subject) -> str:
    """Under greedy decoding a prompt gives the same tokens in every process, and again after other prompts."""
    first, second = subject.greedy, [line["ids"] for line in subject.generating("greedy")]
    for number, (one, ids) in enumerate(zip(first, second, strict=True), 1):
        if one.ids != ids:
            raise Broken(f"prompt {number} gives other tokens in another process: {parting(one.ids, ids)}")
    if first[0].ids != first[-1].ids:
        raise Broken(f"a prompt gives other tokens the second time: {parting(first[0].ids, first[-1].ids)}")
    return f"{sum(len(one.ids) for one in first)} tokens, twice"


@check("Count committed tokens, not steps; cut the last step where a draft or a block would run past the limit.")
def max_new_tokens_is_respected(subject: Subject) -> str:
    """Exactly max_new_tokens are committed where nothing ends the output earlier, even at a limit of one token."""
    return _limits_seen(subject.generating("limits"))


def _limits_seen(lines: Sequence[Line]) -> str:
    for line in lines:
        if line["fault"] or len(line["ids"]) != line["limit"]:
            raise Broken(f"with max_new_tokens = {line['limit']}: {line['fault'] or counted(line['ids'])}")
    return f"limits {', '.join(str(line['limit']) for line in lines)}"


@check("Look for a stop token in every committed id, not only in the last of a step; commit it, then end.")
def stop_tokens_end_the_output(subject: Subject) -> str:
    """The output ends with the first stop token, which is committed itself; with ignore_eos it continues."""
    free, *rest = subject.generating("stops")
    ids = free["ids"]
    for line in rest:
        at = line.get("at")
        wanted = ids if at is None else ids[: at + 1]
        what = "with ignore_eos" if at is None else f"with token {at + 1} of its output as the stop token"
        if line["fault"] or line["ids"] != wanted:
            raise Broken(f"{what}: {line['fault'] or parting(wanted, line['ids'])}")
    return f"stops at tokens {', '.join(str(line['at'] + 1) for line in rest if 'at' in line)}"


@check("Let generate be a generator that may be closed after any step; yield each step as soon as it is computed.")
def stop_strings_end_the_text(subject: Subject) -> str:
    """The host ends a row at a stop string by closing the iterator: the text before it equals that of the output
    without a stop string, and the next prompt gets its usual answer.
    """
    free = subject.greedy
    stop = _stop_string([generation.sample["text"] for generation in free])
    for number, (whole, cut) in enumerate(zip(free, subject.generate(stop=[stop]), strict=True), 1):
        expected = whole.sample["text"].partition(stop)[0]
        if cut.sample["text"] != expected:
            raise Broken(f"prompt {number} ends in {cut.sample['text'][-30:]!r} instead of {expected[-30:]!r}")
    return f"stop string {stop!r}"


def _stop_string(texts: Sequence[str]) -> str:
    """Return two characters from the middle of a text, none of which a token may hold half of."""
    for text in texts:
        for at in range(len(text) // 2, len(text) - 1):
            if "\ufffd" not in (found := text[at : at + 2]):
                return found
    raise NotApplicable("not judged: no output has two whole characters in its second half")


@check("Build a new list of plain ints for every Step; give positions in all steps of a row, or in none.")
def committed_ids_are_the_output(subject: Subject) -> str:
    """The ids that the steps commit, put in order, are the output: plain ints within the vocabulary, not changed after
    they were yielded.
    """
    seen = subject.generating("steps")
    for number, line in enumerate(seen, 1):
        if line["strange"]:
            raise Broken(f"step {number} commits {line['strange'][0]}, which is not a plain int")
        if not line["is_kept"]:
            raise Broken(f"step {number} holds other ids at the end than when it was yielded")
    size = subject.facts.vocabulary_size
    outside = [t for line in seen for t in line["ids"] if t < 0 or (size is not None and t >= size)]
    if outside:
        raise Broken(f"token {outside[0]} was committed; the vocabulary has {'unknown' if size is None else size}")
    for generation in subject.greedy:
        if (joined := _joined(generation)) != generation.ids:
            raise Broken(f"{counted(joined)} in the steps, {counted(generation.ids)} in the output")
    return f"{len(seen)} steps"


def _joined(generation: Generation) -> list[int]:
    placed = [
        (at, token)
        for step in generation.steps
        for at, token in zip(step.get("positions") or _following(step), step["token_ids"], strict=True)
    ]
    return [token for _, token in sorted(placed, key=lambda pair: pair[0])]


def _following(step: Line) -> Iterator[int]:
    """Order the tokens of a decoder that goes from left to right by their step."""
    return (step["index"] for _ in step["token_ids"])


@check("Report a verify cycle's drafted and accepted tokens and its forwards; commit what was accepted plus one.")
def counts_add_up(subject: Subject) -> str:
    """No more tokens are accepted than drafted, every row takes forwards, and a verify cycle commits its accepted
    tokens plus one (the last cycle may commit fewer), so that tau is the accepted tokens per cycle plus one.
    """
    cycles = 0
    for number, generation in enumerate(subject.greedy, 1):
        fault = _count_fault(subject, generation)
        if fault:
            raise Broken(f"prompt {number}: {fault}")
        cycles += sum(1 for step in generation.steps if step.get("drafted") is not None)
    if subject.kind == "speculative" and not cycles:
        raise Broken("no step says how many tokens were drafted and accepted")
    return f"{cycles} verify cycles" if cycles else "no verify cycles"


def _count_fault(subject: Subject, generation: Generation) -> str | None:
    steps = generation.steps
    forwards = [step["forwards"] for step in steps if step.get("forwards") is not None]
    if not forwards and subject.kind != "autoregressive":
        return f"no step says how many forwards it took; a {subject.kind} decoder is judged by them"
    if forwards and sum(forwards) <= 0:
        return f"{sum(forwards)} forwards for {counted(generation.ids)}"
    for step in steps:
        drafted, accepted = step.get("drafted"), step.get("accepted")
        if (drafted is None) != (accepted is None):
            return f"step {step['index'] + 1} has only one of drafted and accepted"
        if drafted is not None and not _is_whole_cycle(step, is_last=step is steps[-1]):
            return (
                f"step {step['index'] + 1} commits {counted(step['token_ids'])}; {accepted} of {drafted} drafted ones "
                f"were accepted"
            )
        if step.get("block_size") is not None and len(step["token_ids"]) > step["block_size"]:
            return f"step {step['index'] + 1} commits {counted(step['token_ids'])} in a block of {step['block_size']}"
    return None


def _is_whole_cycle(step: Line, *, is_last: bool) -> bool:
    tokens, accepted = len(step["token_ids"]), step["accepted"]
    return 0 <= accepted <= step["drafted"] and (tokens == accepted + 1 or (is_last and 1 <= tokens <= accepted + 1))


@check("Yield each step when its tokens are known; report the engine's own times in seconds.")
def timestamps_are_monotonic(subject: Subject) -> str:
    """Steps arrive one by one as they are computed, and the engine's own times are not negative and add up to no more
    than the host measured.
    """
    for number, generation in enumerate(subject.greedy, 1):
        times = [0.0, *(step["t_s"] for step in generation.steps)]
        if any(late < early for early, late in pairwise(times)):
            raise Broken(f"prompt {number}: a step arrived before the one that it follows")
        for clock in _OWN_CLOCKS:
            _check_clock(number, clock, generation.steps)
    if all(_is_burst(generation.steps) for generation in subject.greedy):
        first, *_, last = (step["t_s"] for step in subject.greedy[0].steps)
        raise Broken(f"all steps come in a burst: the first after {first:.3f} s, the rest within {last - first:.4f} s")
    return f"{sum(len(generation.steps) for generation in subject.greedy)} steps"


def _check_clock(number: int, clock: str, steps: Sequence[Line]) -> None:
    total = 0.0
    for step in steps:
        own = step.get(clock) or 0.0
        total += own
        if not math.isfinite(own) or own < 0:
            raise Broken(f"prompt {number}, step {step['index'] + 1}: {clock} = {own}")
        if total > step["t_s"] + _CLOCK_SLACK_S:
            seen = f"{clock} adds up to {total:.3f} s, the host's clock saw {step['t_s']:.3f} s"
            raise Broken(f"prompt {number}, step {step['index'] + 1}: {seen}")


def _is_burst(steps: Sequence[Line]) -> bool:
    first, last = steps[0]["t_s"], steps[-1]["t_s"]
    return len(steps) >= _BURST_STEPS and first > _BURST_FIRST_S and last - first < _BURST_SHARE * first


@check("Release in `finally` what a generation holds, and start the next from an empty cache.")
def cancellation_leaves_it_usable(subject: Subject) -> str:
    """After a generation is closed before its first step or in the middle, prompts give the same tokens as before."""
    lines = subject.generating("cancel")
    for line in lines:
        for before, after in zip(line["before"], line["ids"], strict=True):
            if before != after:
                raise Broken(f"closed after {line['after']} steps, then: {parting(before, after)}")
    return f"closed after {', '.join(str(line['after']) for line in lines)} steps"


@check("Draw with Request.seed alone, after temperature, top_k and top_p; see decodebench.core.sdk.sampling.")
def sampling_follows_its_seed(subject: Subject) -> str:
    """One seed gives one output, other seeds give others, and top_k = 1 gives the greedy output."""
    if "sampling" not in subject.backend.supports:
        raise NotApplicable("it does not declare 'sampling'")
    if (why := subject.refusal_of(temperature=1.5)) is not None:
        raise NotApplicable(f"it refuses to sample with these options: {why}")
    seeds, top = subject.generating("sample")
    if seeds["again"] != seeds["ids"][0]:
        raise Broken(f"one seed gives two outputs: {parting(seeds['again'], seeds['ids'][0])}")
    if all(ids == seeds["ids"][0] for ids in seeds["ids"]):
        raise Broken(f"{len(seeds['ids'])} seeds at temperature 1.5 give one output")
    if top["ids"] != top["greedy"]:
        raise Broken(f"top_k = 1 is not greedy: {parting(top['greedy'], top['ids'])}")
    return f"{len(seeds['ids'])} seeds"


@check("Mask padding, keep a cache per row, and end each row by itself.")
def rows_of_a_batch_are_independent(subject: Subject) -> str:
    """A row of a batch gets the same tokens as its prompt alone, ties excepted."""
    if subject.backend.max_batch_size == 1:
        raise NotApplicable("it declares max_batch_size = 1")
    if (why := subject.refusal_of(batch_size=2)) is not None:
        raise NotApplicable(f"it refuses batches with these options: {why}")
    lines = subject.generating("batch")
    for row, line in enumerate(lines):
        if line["alone"] != line["together"] and not is_tie(line["margin"]):
            raise Broken(f"row {row} gets other tokens in a batch: {parting(line['alone'], line['together'])}")
    return f"{len(lines)} rows"


@check("Evaluate the first Request.depth ids, wait for the device, yield Step((), is_depth=True), then the rest.")
def a_depth_changes_no_token(subject: Subject) -> str:
    """The tokens are the same whatever part of a prompt is evaluated before the clock starts, ties excepted."""
    if "depth" not in subject.backend.supports:
        raise NotApplicable("it does not declare 'depth'")
    lines = subject.generating("depth")
    for line in lines:
        if line["ids"] != line["plain"] and not is_tie(line["margin"]):
            raise Broken(f"behind a depth of {line['depth']}: {parting(line['plain'], line['ids'])}")
    return f"depths {', '.join(str(line['depth']) for line in lines)}"

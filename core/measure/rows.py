"""What one request committed, and whether that keeps the contract."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..contract.generation import Request, Step
from ..errors import SampleError
from ..records.engine_counters import EngineCounters
from ..sdk.tokenizer import Codec, pieces

Decode = Callable[[Sequence[int]], str]


@dataclass(slots=True)
class Row:
    """What one request of a batch committed.

    Attributes:
        steps: (nanoseconds since the batch's start, step), in order of time.
        is_cut: whether a stop string ended it, so that what lies behind was trimmed.
        text: the text before the stop string; None where no stop string was met.
        looked_at: ids that are known to hold no stop string.
        is_retokenised: whether the engine gave text, so that the ids are those of the model's own tokenizer.
    """

    steps: list[tuple[int, Step]] = field(default_factory=list)
    is_cut: bool = False
    text: str | None = None
    looked_at: int = 0
    is_retokenised: bool = False

    @property
    def is_placed(self) -> bool:
        """Whether the steps say where their tokens landed."""
        return any(step.positions is not None for _, step in self.steps)

    @property
    def failure(self) -> str | None:
        """Why the request failed; None where it did not."""
        return self.steps[-1][1].failure if self.steps else None

    @property
    def error(self) -> SampleError | None:
        """The failure with its code, as an error."""
        return None if self.failure is None else SampleError(self.failure, code=self.steps[-1][1].failure_code)

    @property
    def finish(self) -> str | None:
        """Why the row ended, where the engine says so."""
        return self.steps[-1][1].finish if self.steps else None

    @property
    def is_text(self) -> bool:
        """Whether the engine gave text instead of ids."""
        return any(step.text is not None for _, step in self.steps)

    @property
    def ids(self) -> list[int]:
        """The committed ids in order of position, up to the first position that is not filled."""
        if not self.is_placed:
            return [token for _, step in self.steps for token in step.token_ids]
        placed = {at: token for _, step in self.steps for at, token in _placed(step)}
        return [placed[at] for at in itertools.takewhile(placed.__contains__, itertools.count())]

    def last_ids(self, n: int) -> list[int]:
        """Return about the last ``n`` committed ids, in whole steps, of a row that goes from left to right."""
        found: list[int] = []
        for _, step in reversed(self.steps):
            if len(found) >= n:
                break
            found[:0] = step.token_ids
        return found

    def keep(self, n: int) -> None:
        """Take the tokens at position ``n`` and beyond off the steps that committed them."""
        before = 0
        for _, step in self.steps:
            if step.positions is None:
                kept = list(step.token_ids)[: max(0, n - before)]
                before += len(step.token_ids)
                step.token_ids = kept
            else:
                within = [(at, token) for at, token in _placed(step) if at < n]
                step.positions, step.token_ids = [at for at, _ in within], [token for _, token in within]


def _placed(step: Step) -> Iterable[tuple[int, int]]:
    return zip(step.positions or (), step.token_ids, strict=True)


def retokenise(row: Row, codec: Codec) -> None:
    """Give the steps of a row that has text the ids of that text, each token to the step that completes it.

    The whole text is encoded at once: pieces that an engine sends need not end where tokens do.
    """
    steps = [step for _, step in row.steps]
    ids = codec.encode_behind("".join(step.text or "" for step in steps))
    ends = list(itertools.accumulate(len(step.text or "") for step in steps))
    for step in steps:
        step.token_ids = []
    place = length = 0
    for token, piece in zip(ids, pieces(codec.decode_behind, ([token] for token in ids)), strict=True):
        length += len(piece)
        while ends[place] < length and place < len(steps) - 1:
            place += 1
        steps[place].token_ids = [*steps[place].token_ids, token]
    row.is_retokenised = True


def absorb_end(row: Row) -> None:
    """Let the step before the last one end the row, where the last commits nothing and only says how the row ended.

    A server sends its figures after the last token: the time until then is no time of tokens.
    """
    if len(row.steps) < 2:
        return
    last, before = row.steps[-1][1], row.steps[-2][1]
    if last.finish is None or last.token_ids or last.text or last.positions is not None:
        return
    row.steps.pop()
    before.finish, before.counters = last.finish, last.counters or before.counters


def answer_of(request: Request, row: Row, decode: Decode) -> str:
    """Return the text of a measured row, without its stop token or stop string."""
    if row.text is not None:
        return row.text
    if row.is_retokenised:
        return "".join(step.text or "" for _, step in row.steps)
    ids = row.ids
    return decode(ids[:-1] if ids and request.is_stop(ids[-1]) else ids)


def finish_of(request: Request, row: Row) -> str:
    """Return why a row ended, as it is recorded."""
    if row.is_cut:
        return "stop-string"
    if row.finish is not None:
        return row.finish
    return "stop" if request.is_stop(row.ids[-1]) else "length"


def tokens_of(step: Step) -> int:
    """Return how many tokens a step committed, as the engine counts them where it gives text."""
    return len(step.token_ids) if step.text_tokens is None else step.text_tokens


def cut_at_stop(row: Row, stop: Sequence[str], decode: Decode) -> None:
    """End a row at the first stop string in its text; the tokens that lie wholly behind it are taken off."""
    ids = row.ids
    text = "".join(step.text or "" for _, step in row.steps) if row.is_text else decode(ids)
    found = [at for at in (text.find(s) for s in stop) if at >= 0]
    if not found:
        row.looked_at = len(ids)
        return
    at = min(found)
    row.is_cut, row.text = True, text[:at]
    if row.is_text:
        end = min(text.find(one, at) + len(one) for one in stop if text.startswith(one, at))
        step = row.steps[-1][1]
        step.text = (step.text or "")[: len(step.text or "") - (len(text) - end)]
        return
    # None of the ids looked at before completed a stop string, so only the new ones are tried.
    kept = next(n for n in range(row.looked_at + 1, len(ids) + 1) if any(s in decode(ids[:n]) for s in stop))
    row.keep(kept)


def fault_of(request: Request, row: Row) -> str | None:
    """Say what is wrong with a row that has ended, after what it need not count was taken off; None: nothing."""
    return step_faults(row) or _trim(request, row) or _fault(request, row)


def _fault(request: Request, row: Row) -> str | None:
    """Say what is wrong with the steps of a row, None where they keep the contract."""
    ids = row.ids
    if not ids:
        return None if row.finish is not None else "no token was committed"
    if row.is_retokenised:  # what the engine counted is not known by these ids
        return None
    if len(ids) > request.max_new_tokens:
        return f"{len(ids)} tokens committed, the limit is {request.max_new_tokens}"
    if any(token < 0 for token in ids):
        return "a negative token id was committed"
    if row.finish is not None:
        return None
    stops = [index for index, token in enumerate(ids) if request.is_stop(token)]
    if stops and stops[0] != len(ids) - 1:
        return f"{len(ids) - 1 - stops[0]} tokens committed after the stop token"
    if not stops and not row.is_cut and len(ids) < request.max_new_tokens:
        return f"it ended after {len(ids)} of {request.max_new_tokens} tokens without a stop token"
    return None


def _trim(request: Request, row: Row) -> str | None:
    """Un-count what a decoder that fills positions in any order committed beyond its stop token or limit."""
    if not row.is_placed:
        return None
    places = [at for _, step in row.steps for at in step.positions or ()]
    counted = Counter(places)
    if len(counted) < len(places):
        return f"position {min(at for at, count in counted.items() if count > 1)} was committed twice"
    ids = row.ids
    stop = next((at for at, token in enumerate(ids) if request.is_stop(token)), len(ids))
    end = min(stop + 1, request.max_new_tokens)
    if stop == len(ids) < end and not row.is_cut and any(at > stop for at in places):
        return f"nothing was committed at position {stop}, but behind it"
    row.keep(end)
    return None


def step_faults(row: Row) -> str | None:
    """Say what is wrong with the steps of a row, each by itself; None: nothing."""
    if row.is_placed and any(step.positions is None for _, step in row.steps):
        return "some steps say where their tokens landed, others do not"
    return next((fault for _, step in row.steps if (fault := _step_fault(step))), None)


def _step_fault(step: Step) -> str | None:
    if step.counters is not None and not isinstance(step.counters, EngineCounters):
        return f"a step's counters are {type(step.counters).__name__}, not EngineCounters"
    if step.drafted is not None and step.accepted is not None and step.accepted > step.drafted:
        return f"{step.accepted} tokens accepted of {step.drafted} drafted"
    if step.forwards is not None and step.forwards < 0:
        return f"{step.forwards} forwards in a step"
    if step.positions is not None and len(step.positions) != len(step.token_ids):
        return f"{len(step.positions)} positions for {len(step.token_ids)} tokens"
    if step.positions is not None and any(at < 0 for at in step.positions):
        return f"a token at position {min(step.positions)}"
    return None

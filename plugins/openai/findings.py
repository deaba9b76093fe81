"""What is doubtful where a client measures a server: other prompts and counts, warm caches, and the client itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ...core.contract.finding import CellFacts, Doubt, FindingCheck, Place
from ...core.records.schema import THREADS

_MOST_CLIENT_CORES = 0.5
_SHARED_CLIENT_CORES = 0.1
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def retokenised_ids(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Ids that are not the server's: its text, encoded with the model's own tokenizer."""
    for cell in _served(cells):
        if cell["settings"].get("token_ids") != "re-tokenised":
            continue
        counted = [(one, told) for one in _answered(cell) if (told := _figure(one, "server_output_tokens")) is not None]
        differing = [one for one, told in counted if len(one["output_ids"] or ()) not in (told, told - 1)]
        if differing:
            yield Doubt(
                f"{cell['label']}: the server returns only text; re-tokenised, {len(differing)} of {len(counted)} "
                "answers have a different number of tokens than it counts, so their ids are not the generated ones",
                "ids, and figures per token where the server does not count each piece, are estimates",
                _places(differing),
            )
        elif _answered(cell):
            known = "as many as the server counts" if counted else "the server counts none"
            yield Doubt(
                f"{cell['label']}: token ids are those of the server's text, re-tokenised ({known})",
                "ids may differ from the generated ones; a server that returns ids is compared exactly",
                severity="note",
            )


def other_prompts(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Prompts whose length differs at the server."""
    for cell in _served(cells):
        counted = [(one, told) for one in _answered(cell) if (told := _figure(one, "server_prompt_tokens")) is not None]
        # some servers count only what they computed, and leave out what was cached
        wrong = [
            (one, told)
            for one, told in counted
            if one["prompt_tokens"] not in (told, told + (_figure(one, "server_cached_tokens") or 0))
        ]
        if wrong:
            one, told = max(wrong, key=lambda pair: abs(pair[1] - pair[0]["prompt_tokens"]))
            yield Doubt(
                f"{cell['label']}: {len(wrong)} of {len(counted)} prompts have another length for the server: "
                f"{told:g} tokens instead of {one['prompt_tokens']} for {one['sample_id'] or one['index']}",
                "it adds or drops special tokens, or has another tokenizer: its prompts are not those of other cells",
                _places([one for one, _ in wrong]),
            )


def prefix_cache_hits(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Prompts that were not computed, since the server knew their beginnings."""
    for cell in _served(cells):
        hit = [one for one in _answered(cell) if (_figure(one, "server_cached_tokens") or 0) > 0]
        if hit:
            cached = sum(_figure(one, "server_cached_tokens") or 0 for one in hit)
            asked = sum(one["prompt_tokens"] or 0 for one in _answered(cell))
            yield Doubt(
                f"{cell['label']}: the server took {cached:g} of {asked} prompt tokens from its prefix cache, in "
                f"{len(hit)} of {len(_answered(cell))} requests: time to first token is that of a warm cache",
                "give each prompt a unique beginning (--unique-prefix), or turn the server's cache off",
                _places(hit),
            )


def busy_client(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """A client that used so much of the machine that it may have affected the figures."""
    for cell in _served(cells):
        shares = [
            (_figure(one, "client_cpu_s") or 0) / wall
            for one in _answered(cell)
            if (wall := _figure(one, "client_wall_s"))
        ]
        if not shares:
            continue
        share = sum(shares) / len(shares)
        if share > _MOST_CLIENT_CORES:
            yield Doubt(
                f"{cell['label']}: the client itself used {share:.2f} of a core while it waited for answers",
                "latencies include its own work: use fewer requests in flight, or another machine",
            )
        elif share > _SHARED_CLIENT_CORES and _shares_cores(cell):
            yield Doubt(
                f"{cell['label']}: client and server share this machine's cores, of which the client used {share:.2f}",
                "leave the client a core, for instance with n_threads or taskset",
            )


def failed_attempts(cells: Sequence[CellFacts]) -> Iterator[Doubt]:
    """Requests that the server refused at first."""
    for cell in _served(cells):
        again = [one for one in _answered(cell) if _figure(one, "failed_attempts")]
        if again:
            yield Doubt(
                f"{cell['label']}: {len(again)} of {len(_answered(cell))} requests were refused at first and sent "
                "again; their latencies include the waiting",
                rows=_places(again),
            )


def _served(cells: Sequence[CellFacts]) -> list[CellFacts]:
    return [cell for cell in cells if cell.get("residence") in ("remote", "owned-server")]


def _answered(cell: CellFacts) -> list[dict[str, Any]]:
    return [one for one in cell["measured"] if one["status"] == "ok"]


def _figure(sample: dict[str, Any], name: str) -> float | None:
    value = (sample["engine"] or {}).get(name)
    return None if value is None else float(value)


def _shares_cores(cell: CellFacts) -> bool:
    """Whether a server of this machine may use every core that the client may."""
    sessions = cell.get("sessions") or ()
    hosts = {urlsplit(session.get("url") or "").hostname for session in sessions}
    cores = (cell.get("environment") or {}).get("cores_used")
    threads = (cell.get("settings") or {}).get(THREADS)
    return bool(hosts & set(_LOOPBACK)) and (threads is None or cores is None or int(threads) >= cores)


def _places(samples: Sequence[dict[str, Any]]) -> list[Place]:
    return [Place(run_id=sample["run_id"], sample=sample["index"]) for sample in samples]


FINDINGS = (
    FindingCheck("retokenised-ids", "token ids re-tokenised from a server's text", retokenised_ids),
    FindingCheck("other-prompts", "prompts whose length differs at a server", other_prompts),
    FindingCheck("prefix-cache-hits", "prompts that a server did not compute", prefix_cache_hits),
    FindingCheck("busy-client", "a client that used much of a core, or the server's", busy_client),
    FindingCheck("failed-attempts", "requests that a server refused at first", failed_attempts),
)

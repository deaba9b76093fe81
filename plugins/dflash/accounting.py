"""What the tokens of a finished sample must add up to; checked behind every one."""

from __future__ import annotations

from collections.abc import Sequence

from ... import PluginError


def check_sample(taus: Sequence[int], committed: int, limit: int, is_stopped: bool) -> None:
    """Hold the tokens that the cycles gained against those that were committed.

    The prefill gives the first token; N committed tokens, sum over all cycles of tau:

    - without a stop token: N = limit = 1 + sum.
    - with one: it stands in the last cycle (or is the first token), so 1 + sum - last tau < N <= 1 + sum.

    Args:
        taus: tokens gained by each cycle, before anything was cut off.
        committed: N.
        limit: tokens that were asked for.
        is_stopped: whether a stop token ended it.

    Raises:
        PluginError: an identity does not hold, so the loop is wrong; names it with its figures.
    """
    if is_stopped:
        _check_stopped(1 + sum(taus[:-1]) if taus else 0, taus, committed, limit)
    else:
        _check_whole(limit - 1, taus, committed, limit)


def check_published_sample(
    taus: Sequence[int], committed: int, limit: int, is_stopped: bool, *, has_whole_blocks: bool = False
) -> None:
    """Do the same for a published loop, which runs one cycle more or lets its last block reach too far.

    Without a stop token the sum is the limit itself, or with whole blocks as much more as the last of them reaches
    beyond; with one the limit, which it overshoots, cuts in as well. Such a loop looks at the prefill's token behind
    the first cycle.
    """
    if is_stopped:
        _check_stopped(0 if committed == 1 else 1 + sum(taus[:-1]), taus, committed, limit)
    else:
        reached = sum(taus) if has_whole_blocks and sum(taus[:-1]) < limit <= sum(taus) else limit
        _check_whole(reached, taus, committed, limit)


def _check_whole(gained: int, taus: Sequence[int], committed: int, limit: int) -> None:
    if committed != limit or sum(taus) != gained:
        figures = _figures(taus, committed, limit)
        raise PluginError(
            f"dflash: without a stop token N = limit and sum of tau = {gained} must hold: {figures}",
            code="contract-broken",
        )


def _check_stopped(least: int, taus: Sequence[int], committed: int, limit: int) -> None:
    most = min(1 + sum(taus), limit)
    if not least < committed <= most:
        figures = _figures(taus, committed, limit)
        raise PluginError(
            f"dflash: with a stop token {least} < N <= {most} must hold: {figures}", code="contract-broken"
        )


def _figures(taus: Sequence[int], committed: int, limit: int) -> str:
    return f"N = {committed}, sum of tau = {sum(taus)}, last tau = {taus[-1] if taus else None}, limit = {limit}"

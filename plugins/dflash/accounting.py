"""What the tokens of a finished sample must add up to; checked behind every one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ... import PluginError


def check_sample(
    taus: Sequence[int], committed: int, limit: int, is_stopped: bool, compat: Literal["none", "published"]
) -> None:
    """Hold the tokens that the cycles gained against those that were committed.

    The prefill gives the first token; N committed tokens, sum over all cycles of tau:

    - without a stop token: N = limit = 1 + sum; the published loop runs one cycle more than it needs or lets its last
      block reach one position too far, so that its sum is the limit itself.
    - with one: it stands in the last cycle (or is the first token), so 1 + sum - last tau < N <= 1 + sum, where a limit
      that the published loop overshoots cuts in as well.

    Args:
        taus: tokens gained by each cycle, before anything was cut off.
        committed: N.
        limit: tokens that were asked for.
        is_stopped: whether a stop token ended it.
        compat: which loop.

    Raises:
        PluginError: an identity does not hold, so the loop is wrong; names it with its figures.
    """
    gained = sum(taus)
    figures = f"N = {committed}, sum of tau = {gained}, last tau = {taus[-1] if taus else None}, limit = {limit}"
    if not is_stopped:
        expected = limit if compat == "published" else limit - 1
        if committed != limit or gained != expected:
            raise PluginError(
                f"dflash: without a stop token N = limit and sum of tau = {expected} must hold: {figures}"
            )
        return
    least = 1 + gained - taus[-1] if taus else 0
    if compat == "published" and committed == 1:
        least = 0  # it looks at the prefill's token behind the first cycle
    if not least < committed <= min(1 + gained, limit):
        raise PluginError(f"dflash: with a stop token {least} < N <= {min(1 + gained, limit)} must hold: {figures}")

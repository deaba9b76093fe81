"""How the acceptance rate is spread over samples: some texts are easy to draft, others are not."""

from __future__ import annotations

from collections.abc import Sequence

from .acceptance import replicated
from .figures import AcceptanceBucket, AcceptanceSpread
from .observed import Observed, mean

_BUCKETS = (("Very Low", 0, 25), ("Low", 25, 50), ("Medium", 50, 75), ("High", 75, 90), ("Very High", 90, 100))
_READINGS = ((0.9, "excellent"), (0.75, "good"), (0.5, "fair"), (0.0, "poor"))


def spread_of(observed: Observed) -> AcceptanceSpread | None:
    """Return the spread of a cell; None where no sample tells what was drafted and accepted."""
    known = [sample.parts["acceptance_rate"] for sample in observed.samples if "acceptance_rate" in sample.parts]
    if not known:
        return None
    rates = [accepted / drafted for accepted, drafted in known]
    rate = replicated(observed.rounds, "acceptance_rate")
    rounds = [sample.parts["tau"][1] for sample in observed.samples if "tau" in sample.parts]
    return AcceptanceSpread(
        buckets=buckets(rates),
        undrafted=len(observed.samples) - len(rates),
        rate=rate,
        rate_mean=replicated(observed.rounds, "acceptance_rate_mean"),
        reading=reading(rate.value) if rate.value is not None else None,
        verify_rounds_per_sample=mean(rounds),
    )


def buckets(rates: Sequence[float]) -> tuple[AcceptanceBucket, ...]:
    """Count rates from 0 to 1 in five buckets; each holds its lower bound, the last one its upper bound too."""
    counts = [0] * len(_BUCKETS)
    for rate in rates:
        counts[max(at for at, (_, low, _) in enumerate(_BUCKETS) if 100 * rate >= low)] += 1
    return tuple(
        AcceptanceBucket(name=name, low=low / 100, high=high / 100, samples=count, share=count / len(rates))
        for (name, low, high), count in zip(_BUCKETS, counts, strict=True)
    )


def reading(rate: float) -> str:
    """Return how a public guide reads a rate: excellent, good, fair or poor."""
    return next(word for least, word in _READINGS if rate >= least)

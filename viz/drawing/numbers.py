"""Numbers as people read them: three significant digits, with the unit that suits their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...collate.comparison.result import Estimate


def digits(value: float, significant: int = 3) -> str:
    """Return a number with so many significant digits, never in exponent form: ``0.00123``, ``12.3``, ``1,230``."""
    if value == 0:
        return "0"
    shown = float(f"{value:.{significant - 1}e}")
    whole = len(str(int(abs(shown)))) if abs(shown) >= 1 else 0
    decimals = max(significant - whole, 0)
    if whole == 0:
        decimals = significant - 1 - int(f"{shown:e}".rpartition("e")[2])
    return f"{shown:,.{decimals}f}"


_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


_LARGEST_RATIO = 1000


def seconds(value: float) -> str:
    """Return a duration in s, ms or µs."""
    return by_unit(value, "s")


def size(value: float) -> str:
    """Return a number of bytes in KiB, MiB or GiB."""
    return by_unit(value, "bytes")


def _scale(value: float, unit: str) -> tuple[float, str]:
    """Return the factor that suits a value of a unit, and its sign; 0 takes the largest of seconds."""
    steps = {"s": _SECONDS, "bytes": _BYTES}.get(unit)
    if steps is None:
        return 1.0, ""
    if value == 0 and unit == "s":
        return steps[0]
    return next((step for step in steps if abs(value) >= step[0]), steps[-1])


def unit_scale(value: float, unit: str) -> float:
    """Return what a value is divided by to stand in the unit that suits its size."""
    return _scale(value, unit)[0]


def tick(value: float, unit: str = "") -> str:
    """Return a round number beside an axis, without zeros at its end: ``2,500``, ``0.5``, ``20 ms``."""
    factor, sign = _scale(value, unit)
    return f"{float(f'{value / factor:.6g}'):,.12g} {sign}".rstrip()


def percent(value: float) -> str:
    """Return a share as a percentage without decimals, or with one where it would read 0 or 100 wrongly."""
    scaled = value * 100
    return f"{scaled:.1f} %" if 0 < scaled < 1 or 99 < scaled < 100 else f"{scaled:.0f} %"


def by_unit(value: float, unit: str) -> str:
    """Return a value with its unit; seconds and bytes take the unit that suits their size."""
    factor, sign = _scale(value, unit)
    return f"{digits(value / factor)} {sign}".rstrip()


def with_unit(value: float, unit: str) -> str:
    """Return a value with its unit, for where no heading has it: ``1,230 tokens/s``, ``12.3 ms``, ``2.05``."""
    text = by_unit(value, unit)
    return text if unit in ("s", "bytes", "1") else f"{text} {unit}"


def counted(count: int, noun: str) -> str:
    """Return how many there are of something: ``1 cell``, ``1,204 cells``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def with_interval(estimate: Estimate, unit: str = "") -> tuple[str, str]:
    """Return the value and its ``[low, high]`` in the same unit apart; the interval may be empty."""
    if estimate.value is None:
        return "n/a", ""
    if estimate.low is None or estimate.high is None:
        return by_unit(estimate.value, unit), ""
    factor, _ = _scale(estimate.value, unit)
    return by_unit(estimate.value, unit), f"[{digits(estimate.low / factor)}, {digits(estimate.high / factor)}]"


def interval(estimate: Estimate) -> tuple[str, str]:
    """Return a ratio and its ``[low, high]`` apart; the interval may be empty."""
    if estimate.value is None:
        return "n/a", ""
    if estimate.low is None or estimate.high is None:
        return ratio_text(estimate.value), ""
    return ratio_text(estimate.value), f"[{ratio_text(estimate.low)}, {ratio_text(estimate.high)}]"


def share(estimate: Estimate) -> tuple[str, str]:
    """Return a share in per cent and its ``[low, high]`` apart; both may be empty."""
    if estimate.value is None:
        return "", ""
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value), ""
    return percent(estimate.value), f"[{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def ratio_text(value: float) -> str:
    """Show two decimals, fewer from ten on; two digits where a ratio is so small that they would be lost.

    Beyond three powers of ten, where the interval of two noisy rounds may reach, it says no more than that.
    """
    if value > _LARGEST_RATIO or 0 < value < 1 / _LARGEST_RATIO:
        return f">{_LARGEST_RATIO:,}" if value > 1 else f"<{1 / _LARGEST_RATIO:g}"
    if abs(value) >= 10:
        return digits(value)
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def divergence_text(value: float | None, *, is_exact: bool | None = True) -> str:
    """Return a divergence, which may be tiny: three digits, in exponent form below a thousandth; ``≥`` for a bound."""
    if value is None:
        return "n/a"
    text = digits(value) if value == 0 or value >= 1e-3 else f"{value:.1e}"
    return text if is_exact else f"≥ {text}"


def signed(estimate: Estimate) -> str:
    """Return a difference with its sign; the interval, where there is one, on a second line."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return known(estimate.value, "{:+.2f}".format)
    return f"{estimate.value:+.2f}\n[{estimate.low:+.2f}, {estimate.high:+.2f}]"


def known(value: float | None, show: Callable[[float], str] = digits) -> str:
    """Return a number, or ``n/a`` where it is not known."""
    return "n/a" if value is None else show(value)


def on_two_lines(parts: tuple[str, str]) -> str:
    """Put the second part, where there is one, below the first."""
    return "\n".join(part for part in parts if part)

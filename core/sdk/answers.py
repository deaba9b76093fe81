r"""The number that a text gives as its answer, as scorers of GSM8K read it, and the content of a last ``\boxed{}``."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z]))?"
_BARE_DECIMAL = r"(?:(?<=[\s=(:])|^)-?\.[0-9]+"
_ANY = re.compile(f"{_BARE_DECIMAL}|{_NUMBER}")
_MARKED = re.compile(rf"####[\s*]*(?:\$\s*)?({_BARE_DECIMAL}|{_NUMBER})")
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\?[{}]")
_FRACTION = re.compile(
    r"(-?)\\[dt]?frac\s*(?:\{\s*)?(-?[0-9]+)\s*(?:\}\s*)?(?:\{\s*)?([0-9]+)\s*\}?|(-?)([0-9]+)\s*/\s*([0-9]+)"
)

# An exponent of a unit is no number: 18 m2, 18 cm^2, 18 ft**3, 18 m^{2}.
_POWER_OF_UNIT = re.compile(
    r"(?<![A-Za-z])((?:[kcdm]?m|in|ft|yd|mi|feet|inch(?:es)?|met(?:er|re)s?|miles?|units?)\}?)(?:\$?\^\{?|\*\*)?[23]\}?"
    r"(?![0-9A-Za-z]|[.,][0-9])"
)
_CURRENCY_BEHIND_SIGN = re.compile(r"-\s?\\?[$€£¥]\s?(?=[.0-9])")
_GROUPING = re.compile(r"(?<=[0-9])(?:\\[,!;:]|\{,\}|['\u2009\u202f\u00a0_])(?=[0-9]{3}(?![0-9]))")
_MINUS = re.compile("[\u2212\u2013\ufe63\uff0d](?=[\\s$€£¥.0-9])")


def final_number(text: str) -> str | None:
    r"""Return the number that a generation gives as its answer, without thousands separators and trailing zeros.

    That is the number behind the first ``####`` (what follows is a model running on); without one, that in the last
    ``\boxed{}`` that holds one; without one, the last number of the text; None where there is no number. Currency
    signs, units and their exponents, and LaTeX or typographic thousands separators are passed over.
    """
    text = _plain(text)
    marked = _MARKED.search(text)
    if marked:
        return _written(marked.group(1))
    inner = boxed(text)
    in_box = _in_box(inner) if inner is not None else None
    if in_box is not None:
        return in_box
    numbers = _ANY.findall(text)
    return _written(numbers[-1]) if numbers else None


def _plain(text: str) -> str:
    """Take off what surrounds digits without being part of a number."""
    text = _MINUS.sub("-", text)
    text = _GROUPING.sub(",", text)
    text = _CURRENCY_BEHIND_SIGN.sub("-", text)
    return _POWER_OF_UNIT.sub(r"\1", text)


def _in_box(content: str) -> str | None:
    fraction = _FRACTION.fullmatch(content.strip().strip("$ "))
    if fraction:
        signs, over, under = fraction[1] or fraction[4] or "", fraction[2] or fraction[5], fraction[3] or fraction[6]
        return f"{signs}{over}/{under}"
    numbers = _ANY.findall(content)
    return _written(numbers[-1]) if numbers else None


def _written(number: str) -> str:
    number = number.replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number and not re.search("[eE]", number) else number


def boxed(text: str) -> str | None:
    r"""Return the content of the last whole ``\boxed{}`` or ``\fbox{}``, braces within balanced; None without one."""
    opened: list[int | None] = []  # where the content of each open box begins; None for any other brace
    last: tuple[int, int] | None = None
    for brace in _BRACES.finditer(text):
        if brace[0] in (r"\{", r"\}"):
            continue
        if brace[0] != "}":
            opened.append(brace.end() if len(brace[0]) > 1 else None)
        elif opened and (start := opened.pop()) is not None:
            last = max(last or (0, 0), (start, brace.start()))
    return text[last[0] : last[1]] if last else None


def same_number(found: str | None, reference: str) -> bool:
    """Whether two numbers as ``final_number`` writes them have one value; False where one is none."""
    if found is None:
        return False
    try:
        return Fraction(found) == Fraction(reference.replace(",", "").strip())
    except (ValueError, ZeroDivisionError):  # no number, or one of more digits than Python reads
        return found == reference

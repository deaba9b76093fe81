"""Texts that tokenizers get wrong: code, spaces, line ends, emoji, combining marks, digits, special tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

WORDS = (
    "def return import self None True lambda value the quick brown fox HTTPServer snake_case camelCase it's they're "
    "WE'LL I'd don't x2 a1b2 e.g. naïve café Grüße Zürich Straße Привет мир שלום مرحبا 東京 你好 日本語 "
    "한국어 हिन्दी ไทย Ⅷ ½ ٣٤ "
    "0x1F 3.14159 1,000.50 2024-11-30 007 1234567890 12345 99 100% C++ foo(bar) [i] {k: v} <tag> </div> \\n \\t ''' "
    '"""doc""" #### ... --- == != <= -> => ** // /* */ && || :: ;; ?! @x $y ~z `w` ^ | \\ _ __init__'
).split()
SPACES = [
    " ",
    "  ",
    "   ",
    "    ",
    "        ",
    "\n",
    "\n\n",
    "\n\n\n",
    "\t",
    "\t\t",
    "\r\n",
    " \n",
    "\n ",
    "\n    ",
    " \t ",
]
RARE = ["\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\u2028", "\x0b", "\x0c", "\x85", "\x1f"]
MARKS = [
    "e\u0301",
    "n\u0303",
    "a\u0308\u0323",
    "\u0915\u094d\u0937",
    "\u0301",
    "ก\u0e33",
    "\u1100\u1161",
    "ﬁ",
    "Å",
    "\u212b",
]
EMOJI = ["🙂", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "👍🏽", "🏳️‍🌈", "1️⃣", "𝒳", "𐍈", "\U0001f9ff"]


def texts(count: int, seed: int, special: Sequence[str] = ()) -> list[str]:
    """Return ``count`` texts, the same ones for the same seed; ``special`` are tokens to strew in."""
    chooser = random.Random(seed)
    return [_text(chooser, special) for _ in range(count)]


def _text(chooser: random.Random, special: Sequence[str]) -> str:
    kinds = [WORDS] * 8 + [SPACES] * 6 + [MARKS, EMOJI, RARE] + ([list(special)] if special else [])
    parts = []
    for _ in range(chooser.randint(1, 30)):
        if chooser.random() < 0.1:
            parts.append(str(chooser.randrange(10 ** chooser.randint(1, 9))))
        parts.append(chooser.choice(chooser.choice(kinds)))
        parts.append(chooser.choice(["", "", " "]))
    return "".join(parts)

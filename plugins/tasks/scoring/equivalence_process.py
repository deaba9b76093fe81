"""The process behind ``equivalence``: reads pairs of expressions as JSON lines, answers ``true`` or ``false``."""

from __future__ import annotations

import json
import logging
import resource
import sys

_MOST_BYTES = 2 * 2**30  # of address space: sympy writes out powers that no memory holds


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    logging.disable()
    from math_verify import parse, verify

    def are_one(found: str, reference: str) -> bool:
        # The library's time limits are alarms in this process, which sympy may hold off; the parent has its own.
        gold, answer = (parse(f"${text.strip().strip('$')}$", parsing_timeout=None) for text in (reference, found))
        return bool(verify(gold, answer, timeout_seconds=None))

    sys.setrecursionlimit(5000)
    print("ready", flush=True)  # noqa: T201 - the protocol
    for line in sys.stdin:
        found, reference = json.loads(line)
        try:
            answer = are_one(found, reference)
        except Exception:  # noqa: BLE001 - what the library cannot read is no equal
            answer = False
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

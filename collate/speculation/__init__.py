"""Derived figures of speculative decoding: acceptance, cycle costs, block sizes, and pairs of modes.

What one decoder alone records (``RecordedStep.trace``) is analysed by its plugin, in a section of its own.

Imports: collate.comparison, collate.parity, collate.statistics, contract, records. Imported by: api, plugins, viz.
"""

from __future__ import annotations

from .analysis import analyse
from .figures import Speculation
from .pairs import pair

__all__ = ["Speculation", "analyse", "pair"]

"""Which of several figures of lm-evaluation-harness is a task's accuracy: here, in its results and in its samples."""

from __future__ import annotations

PREFERRED_METRICS = (
    "exact_match,flexible-extract",
    "exact_match,get-answer",
    "exact_match,strict-match",
    "exact_match",
    "acc,none",
    "acc_norm,none",
)
"""Metric and filter, the best first, of those that a task has."""

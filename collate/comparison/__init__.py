"""Cells of the store compared with a baseline: what was observed, what is comparable, and the result as records."""

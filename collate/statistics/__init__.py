"""Intervals and verdicts: ratios of cells, proportions, and the noise between rounds."""

"""Scorers, one per file: each finds the answer in a text and holds it against the reference."""

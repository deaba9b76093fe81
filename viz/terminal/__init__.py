"""Comparisons in the terminal: tables, bars and courses."""

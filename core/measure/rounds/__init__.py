"""Rounds while they are measured: each alone, or several in turn, a batch each, the others stopped meanwhile.

Imports what ``measure`` has of plan, cells, jobs and machine. Imported by its launcher and its runner.
"""

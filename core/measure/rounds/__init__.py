"""Rounds while they are measured: each alone; several in turn, a batch each, the others stopped; or on several hosts.

Imports what ``measure`` has of plan, cells, jobs and machine. Imported by its launcher and its runner.
"""

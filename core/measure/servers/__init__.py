"""Engines in servers: bringing one up for a job, and keeping it from one round to the next.

Imports: contract, isolation, measure, measure.machine, measure.rounds, records. Imported by: conformance, measure.
"""

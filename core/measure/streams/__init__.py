"""Requests that arrive while others run: when they are due, who gets them, and the timed loop over their answers.

Imports: contract, measure, records, sdk. Imported by: api, conformance, measure.
"""

"""The axes of a plan: ranges, those of its workload (for ``plan``), and the points of all (for ``cells``).

Imports: contract, host, measure, records. Imported by: measure.
"""

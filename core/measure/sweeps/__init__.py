"""The axes of a plan: ranges, those of its workload (imported by ``plan``), and the points of all (by ``cells``)."""

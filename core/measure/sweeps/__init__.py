"""The points of a plan's matrix. Imports the plan's models, contract and errors; imported by ``cells`` alone."""

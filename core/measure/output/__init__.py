"""The output folder: who may write to it, what it is to hold and what it holds. Imports records, host and ``cells``."""

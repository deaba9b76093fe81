"""From a plan to raw logs: cells, prompts, rounds, the worker process and its timed loop, and the machine they ran on.

Imports ``host``, ``isolation``, ``sdk``, ``contract`` and ``records``. ``conformance``, ``collate.parity``, ``api`` and
``cli`` import it; no plugin does.
"""

"""Finding, loading, checking and naming plugins, and what is known of where they come from.

Imports ``contract`` and ``records``. ``isolation``, ``measure``, ``conformance``, ``api`` and ``cli`` import it;
``collate`` is handed a registry and makes none.
"""

"""The host, in rooms; each says in its ``__init__`` what belongs there, what it imports and who imports it.

``errors``, ``cache`` and ``files`` are for every room. Imports point one way, down this list:
``cli``, ``api``, ``conformance``, ``measure``, ``sdk`` and ``isolation``, ``host``, ``contract``, ``records``.
"""

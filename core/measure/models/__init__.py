"""What a plan's models become for a backend: the weight format that is meant, in a container that the backend reads.

Imports what ``measure`` does; ``cells``, ``api`` and ``cli`` import it.
"""

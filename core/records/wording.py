"""What messages word alike: a count with its noun, a name with its verb."""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one: ``1 round``, ``5 rounds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def differ(name: str) -> str:
    """Return a name with its verb: ``quantisation differs``, ``threads differ``."""
    return f"{name} differ" if name.endswith("s") else f"{name} differs"

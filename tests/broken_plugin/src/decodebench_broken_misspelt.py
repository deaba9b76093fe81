"""A plugin with a misspelt hook."""

from decodebench import hookimpl


@hookimpl
def decodebench_backend():
    return []

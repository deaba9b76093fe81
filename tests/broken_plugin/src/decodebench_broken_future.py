"""A plugin written for a later contract."""

from decodebench import hookimpl

decodebench_api = ">=2"


@hookimpl
def decodebench_backends():
    return []

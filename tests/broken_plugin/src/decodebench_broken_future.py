"""A plugin written for a later contract."""

from decodebench import hookimpl

decodebench_api = ">=3"


@hookimpl
def decodebench_backends():
    return []

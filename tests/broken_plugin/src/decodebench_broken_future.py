"""A plugin written for a later contract."""

from decodebench import hookimpl

decodebench_api = ">=4"


@hookimpl
def decodebench_backends():
    return []

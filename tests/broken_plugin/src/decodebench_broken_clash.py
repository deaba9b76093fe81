"""A plugin that adds a model of its own and a task whose name is taken."""

from decodebench import ModelSource, Task, hookimpl


class Taken(Task):
    name, version, summary = "tiny-gsm", "9", "takes the name of a built-in task"

    def samples(self, n, seed):
        yield from ()

    def score(self, sample, text):
        raise AssertionError


@hookimpl
def decodebench_models():
    return [ModelSource("clash:model", "has a name of its own")]


@hookimpl
def decodebench_tasks():
    return [Taken]

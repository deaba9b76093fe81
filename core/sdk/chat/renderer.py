"""The process that renders templates: a JSON line each on standard input, a JSON line each in answer.

It is run as a file, isolated, and imports nothing of decodebench, so that it starts in a tenth of a second and holds
nothing that a template could want. A template that takes too long ends the process by its alarm clock.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, Template, TemplateError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_MEMORY_BYTES = 2**30
_MOST_CHARACTERS = 2**23


class Generation(Extension):
    """``{% generation %}``: marks what the assistant said, for training; when prompts are made it renders its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the block; a call block as in transformers, so that what is set inside stays inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class PlainDict:
    """What ``dict`` is in a template: the class itself would open a way to its methods."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:  # noqa: ANN401 - as dict takes them
        """Make a dictionary."""
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:  # noqa: ANN401 - as dict takes them
        """Make a dictionary of keys."""
        return dict.fromkeys(*args)


class PlainNamespace(Namespace):
    """A namespace without private names."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - `self` may be a name in the namespace
        self, given = args[0], dict(*args[1:], **kwargs)
        for name in given:
            _check_name(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:  # noqa: ANN401 - any value of a template
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot have the private attribute {name!r}")


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _to_json(
    value: Any,  # noqa: ANN401 - any value of a template
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes what HTML would misread, which no model was trained on
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> Environment:
    """Return the environment of transformers' ``apply_chat_template``."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    made.globals["dict"] = PlainDict()
    made.globals["namespace"] = PlainNamespace
    return made


@lru_cache(maxsize=1)
def _compiled(source: str) -> tuple[Template, list[str]]:
    """Return a template and the names that it expects from outside."""
    made = environment()
    return made.from_string(source), sorted(meta.find_undeclared_variables(made.parse(source)))


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    template, names = _compiled(asked["source"])
    if asked["variables"] is None:
        return {"names": names}
    text = template.render(**asked["variables"])
    if len(text) > _MOST_CHARACTERS:
        return {"error": f"it renders {len(text)} characters; at most {_MOST_CHARACTERS} are taken"}
    return {"text": text}


def main() -> None:
    """Answer every line of standard input, each within the seconds that the first argument says."""
    seconds = int(sys.argv[1])
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    for line in sys.stdin:
        signal.alarm(seconds)
        try:
            answer = _answer(json.loads(line))
            written = json.dumps(answer)
        except MemoryError:
            written = json.dumps({"error": f"it needs more than {_MEMORY_BYTES >> 20} MiB of memory"})
        except TemplateError as error:
            written = json.dumps({"error": str(error)})
        except Exception as error:  # noqa: BLE001 - a template can raise whatever Python can
            written = json.dumps({"error": f"{type(error).__name__}: {error}"})
        signal.alarm(0)
        sys.stdout.write(written + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

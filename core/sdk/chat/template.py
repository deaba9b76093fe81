"""The chat template of a model: where it is, and the text that it makes of messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from pydantic import JsonValue

from ...errors import ModelError, UsageError, unknown_name
from ..checkpoint import read_json
from ..gguf.metadata import read_metadata
from ..gguf.parts import find_gguf
from ..special_tokens import ROLES, TOKENIZER_CONFIG, SpecialTokens

Messages = Sequence[tuple[str, str]]
"""Turns of a conversation: role and content."""

_SECONDS = 10  # a render takes milliseconds
_RENDERER = Path(__file__).with_name("renderer.py")
_OWN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})


class ChatTemplate:
    """A template with the special tokens of its model.

    Args:
        path: the model's, for messages.
        source: Jinja source.
        tokens: text of each special token that has a name, such as ``bos_token``, by it.
    """

    def __init__(self, path: Path, source: str, tokens: Mapping[str, str]) -> None:
        self.path, self.source, self.tokens = path, source, dict(tokens)
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def read(cls, path: Path) -> ChatTemplate:
        """Find the template of a model.

        Args:
            path: a Hugging Face folder, a GGUF file, or a folder with one.

        Raises:
            ModelError: there is none, or several of which none is the default one.
        """
        is_folder = path.is_dir() and any((path / name).is_file() for name in ("chat_template.jinja", TOKENIZER_CONFIG))
        file = None if is_folder else find_gguf(path)
        metadata = {} if file is None else read_metadata(file)
        named = _of_folder(path) if file is None else _of_metadata(metadata)
        if not named:
            raise ModelError(f"{path} has no chat template; leave --chat out", code="template-failed")
        if "default" not in named:
            raise ModelError(
                f"{path} has {len(named)} chat templates and none is called default: {', '.join(sorted(named))}",
                code="template-failed",
            )
        special = SpecialTokens.read(path, {}) if file is None else SpecialTokens.of_metadata(metadata)
        return cls(path, named["default"], special.texts)

    def render(
        self,
        messages: Messages,
        arguments: Mapping[str, JsonValue] | None = None,
        *,
        asks_for_answer: bool = True,
    ) -> str:
        """Return the text of a conversation, begin token included where the template writes it.

        Args:
            messages: the turns.
            arguments: what the template is told besides, such as ``enable_thinking``.
            asks_for_answer: whether the text ends with what begins an answer.

        Raises:
            ModelError: the template refuses the messages, is no template, or asks for more time or memory than it gets.
        """
        turns = [{"role": role, "content": content} for role, content in messages]
        own = {"messages": turns, "tools": None, "documents": None, "add_generation_prompt": asks_for_answer}
        return str(self._ask({**self.tokens, **own, **(arguments or {})})["text"])

    def check_arguments(self, arguments: Mapping[str, JsonValue]) -> None:
        """Refuse arguments that the template does not read, which would change nothing.

        Raises:
            UsageError: names the argument and the nearest that there is.
            ModelError: as ``render``.
        """
        if not arguments:
            return
        known = set(self._ask(None)["names"]) - _OWN - {"raise_exception", "strftime_now", "namespace", "dict", "range"}
        for name in arguments:
            if name in _OWN:
                raise UsageError(f"template argument {name!r} is set by decodebench itself", code="template-failed")
            if name not in known:
                raise unknown_name(f"argument of the chat template of {self.path}", name, known - set(ROLES))

    def _ask(self, variables: Mapping[str, Any] | None) -> dict[str, Any]:
        """Have the template rendered, or with None the names told that it reads."""
        process = self._started()
        stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        try:
            stdin.write(json.dumps({"source": self.source, "variables": variables}) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            ended, self._process = process.wait(), None
            is_late = ended == -signal.SIGALRM
            why = f"it takes longer than {_SECONDS} s" if is_late else f"its process ended with status {ended}"
            raise ModelError(f"{self.path}: its chat template cannot be rendered: {why}", code="template-failed")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ModelError(
                f"{self.path}: its chat template cannot be rendered: {answer['error']}", code="template-failed"
            )
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", _RENDERER, str(_SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            weakref.finalize(self, _end, self._process)
        return self._process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _of_folder(folder: Path) -> dict[str, str]:
    """Return the templates by name, as transformers finds them: files before the entry of the configuration."""
    files = {"default": folder / "chat_template.jinja"}
    files |= {file.stem: file for file in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    named = {name: _text(file) for name, file in files.items() if file.is_file()}
    file = folder / TOKENIZER_CONFIG
    return named or (_named(read_json(file).get("chat_template")) if file.is_file() else {})


def _named(entry: object) -> dict[str, str]:
    """Read the entry ``chat_template``: one template, or several with their names."""
    if isinstance(entry, str):
        return {"default": entry}
    if isinstance(entry, list):
        entry = {one.get("name"): one.get("template") for one in entry if isinstance(one, dict)}
    return {name: text for name, text in entry.items() if isinstance(text, str)} if isinstance(entry, dict) else {}


def _of_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    prefix = "tokenizer.chat_template"
    found = {key.removeprefix(prefix).lstrip(".") or "default": text for key, text in metadata.items() if prefix in key}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{file}: cannot be read as text ({error})", code="template-failed") from error

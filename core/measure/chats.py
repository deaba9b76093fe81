"""The prompts of a chat: the text that each model's template makes of a task's messages, before anything loads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from ..errors import UsageError
from ..records.workload import Workload
from ..sdk.chat.template import ChatTemplate, Messages
from .cells import Cell
from .job import PromptJob
from .prefixes import PLACE

Chats = Mapping[str, tuple[PromptJob, ...]]
"""Prompts as each cell gets them, by its id: their text is rendered."""


def render_chats(workload: Workload, jobs: Sequence[PromptJob], cells: Iterable[Cell]) -> Chats:
    """Render every prompt for every cell.

    Args:
        workload: its ``system`` message comes first in each chat; with ``unique_prefix`` the first message that is
            rendered begins with a line for the digits, which are chosen for each round.
        jobs: prompts with messages; the text of one without is what the user says.
        cells: each with a model and the arguments that its template is given.

    Raises:
        ModelError: a model has no template, or it cannot be rendered.
        UsageError: the system message or an argument changes nothing, or no message is rendered as it is.
    """
    templates: dict[str, ChatTemplate] = {}
    rendered: dict[str, tuple[PromptJob, ...]] = {}
    found: dict[str, tuple[PromptJob, ...]] = {}
    for cell in cells:
        model = cell.model.content_hash
        if model not in templates:
            templates[model] = ChatTemplate.read(cell.model.path)
        arguments = cell.workload.template_args
        key = json.dumps([model, arguments], sort_keys=True)
        if key not in rendered:
            templates[model].check_arguments(arguments)
            rendered[key] = _rendered(templates[model], workload, jobs, arguments)
        found[cell.id] = rendered[key]
    return found


def _rendered(
    template: ChatTemplate, workload: Workload, jobs: Sequence[PromptJob], arguments: Mapping[str, JsonValue]
) -> tuple[PromptJob, ...]:
    system = workload.system
    if system is not None and jobs:
        own = _messages(jobs[0])
        texts = [template.render(each, arguments) for each in (_with_system(own, system), _without_system(own))]
        if texts[0] == texts[1]:
            raise UsageError(
                f"the chat template of {template.path} ignores the system message: leave out --system",
                code="template-failed",
            )
    texts = []
    for job in jobs:
        messages = _with_system(_messages(job), system)
        is_unique = workload.unique_prefix and not job.choices
        texts.append((_with_place if is_unique else ChatTemplate.render)(template, messages, arguments))
    return tuple(job.model_copy(update={"text": text}) for job, text in zip(jobs, texts, strict=True))


def _with_place(template: ChatTemplate, messages: Messages, arguments: Mapping[str, JsonValue]) -> str:
    """Return the text of a chat whose first message begins with the place of its unique prefix."""
    for at, (role, content) in enumerate(messages):
        if role in ("system", "user"):
            text = template.render([*messages[:at], (role, f"{PLACE}\n{content}"), *messages[at + 1 :]], arguments)
            if PLACE in text:  # some templates leave the system message out
                return text
    raise UsageError(
        f"the chat template of {template.path} renders no message of the system or the user as it is: leave out "
        "--unique-prefix",
        code="template-failed",
    )


def _messages(job: PromptJob) -> Messages:
    return job.messages or (("user", job.text or ""),)


def _with_system(messages: Messages, system: str | None) -> Messages:
    """Put the system message first, instead of the task's own where it has one."""
    return messages if system is None else (("system", system), *_without_system(messages))


def _without_system(messages: Messages) -> Messages:
    return tuple((role, content) for role, content in messages if role != "system")

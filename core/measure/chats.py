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

Chats = Mapping[str, tuple[PromptJob, ...]]
"""Prompts as each cell gets them, by its id: their text is rendered."""


def render_chats(workload: Workload, jobs: Sequence[PromptJob], cells: Iterable[Cell]) -> Chats:
    """Render every prompt for every cell.

    Args:
        workload: its ``system`` message comes first in each chat.
        jobs: prompts with messages; the text of one without is what the user says.
        cells: each with a model and the arguments that its template is given.

    Raises:
        ModelError: a model has no template, or it cannot be rendered.
        UsageError: the system message or an argument changes nothing.
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
            rendered[key] = _rendered(templates[model], workload.system, jobs, arguments)
        found[cell.id] = rendered[key]
    return found


def _rendered(
    template: ChatTemplate, system: str | None, jobs: Sequence[PromptJob], arguments: Mapping[str, JsonValue]
) -> tuple[PromptJob, ...]:
    texts = [template.render(_with_system(_messages(job), system), arguments) for job in jobs]
    if system is not None and jobs and texts[0] == template.render(_without_system(_messages(jobs[0])), arguments):
        raise UsageError(
            f"the chat template of {template.path} ignores the system message: leave out --system",
            code="template-failed",
        )
    return tuple(job.model_copy(update={"text": text}) for job, text in zip(jobs, texts, strict=True))


def _messages(job: PromptJob) -> Messages:
    return job.messages or (("user", job.text or ""),)


def _with_system(messages: Messages, system: str | None) -> Messages:
    """Put the system message first, instead of the task's own where it has one."""
    return messages if system is None else (("system", system), *_without_system(messages))


def _without_system(messages: Messages) -> Messages:
    return tuple((role, content) for role, content in messages if role != "system")

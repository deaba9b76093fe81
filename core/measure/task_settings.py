"""What a task sets for the workload where the user does not, and whether it can be scored here at all."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..host.registry import Registry
from .plan import Plan


def settled(plan: Plan, registry: Registry) -> Plan:
    """Return the plan with its task's stop strings and token limit in place of those that nobody set.

    They count as set from then on: in the cells' identity and in the records they are like any that a user gave.

    Raises:
        UsageError: an unknown task, one that runs code which the plan does not allow, or one that cannot be scored
            on this machine.
    """
    if plan.workload.task is None:
        return plan
    task = registry.task(plan.workload.task)
    if task.executes_code and not plan.allow_code_execution:
        raise UsageError(
            f"task {task.name!r} runs code that the model wrote, in a sandbox without network: allow it with "
            "--allow-code-execution, or allow_code_execution = true in the plan"
        )
    task.check()
    given = plan.workload.model_fields_set
    own: dict[str, Any] = {}
    if "stop" not in given and task.stop and not plan.workload.chat:
        own["stop"] = task.stop
    if "max_new_tokens" not in given and task.max_new_tokens is not None:
        own["max_new_tokens"] = task.max_new_tokens
    return plan.model_copy(update={"workload": plan.workload.model_copy(update=own)})

"""The tasks by name. A new task is one new file and one line here."""

from __future__ import annotations

import re

from qinsight_cli.core.tasks import comparison, score, single_distortion
from qinsight_cli.core.tasks.base import FAILURES, ParseFailure, Task

TASKS: dict[str, Task] = {task.name: task for task in (score.TASK, single_distortion.TASK, comparison.TASK)}


def failure_kinds() -> tuple[str, ...]:
    """The kinds of ParseFailure of all tasks."""
    return (*FAILURES, *dict.fromkeys(kind for task in TASKS.values() for kind in task.failures))


def reward_titles() -> dict[str, str]:
    """The rewards of all tasks -> their titles in figures."""
    return {name: title for task in TASKS.values() for name, title in task.titles.items()}


def spans() -> dict[str, re.Pattern[str]]:
    """The spans of all tasks: the reasoning of one may contain the words of another's answer."""
    return {name: pattern for task in TASKS.values() for name, pattern in task.spans.items()}


__all__ = ["TASKS", "ParseFailure", "Task", "failure_kinds", "reward_titles", "spans"]

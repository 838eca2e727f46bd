"""The tasks by name. A new task is one new file and one line here."""

from qinsight_cli.core.tasks import comparison, degradation, score
from qinsight_cli.core.tasks.base import ParseFailure, Task

TASKS: dict[str, Task] = {task.name: task for task in (score.TASK, degradation.TASK, comparison.TASK)}

__all__ = ["TASKS", "ParseFailure", "Task"]

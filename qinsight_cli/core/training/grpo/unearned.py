"""Warnings about rewards that no completion earns: nothing is learned from a reward that stays 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STEPS = 20  # logged steps in a row without the reward before the first warning; each further one waits twice as long


class UnearnedRewards:
    """For each reward, counts the logged steps in a row in which no completion earned it.

    A step without rows of the reward's task does not count. `lines` are the metrics of a resumed run so far.
    """

    def __init__(self, names: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
        self._steps = dict.fromkeys(names, 0)
        for line in lines:
            self.note(line)

    def note(self, line: Mapping[str, Any]) -> list[str]:
        """A line of metrics.jsonl -> the warnings that are due."""
        warnings = []
        for name, count in self._steps.items():
            value = line.get(name)
            if value is None or value != value:
                continue
            self._steps[name] = count + 1 if value == 0 else 0
            rounds, rest = divmod(self._steps[name], STEPS)
            if rounds and not rest and rounds & (rounds - 1) == 0:
                warnings.append(
                    f"WARNING: no completion has earned {name} in {self._steps[name]} logged steps, so nothing is "
                    "learned from it; see completions.jsonl for what the model writes"
                )
        return warnings

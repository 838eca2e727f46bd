"""A reward that stays 0 teaches nothing, and nobody looks at every line: it is said loudly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STEPS = 20  # logged steps in a row without the reward before the first warning; each further one waits twice as long


class Silence:
    """Counts for each reward the consecutive logged steps in which no completion earned it. `lines` are those of a
    resumed run. A step without rows of the reward's task does not count."""

    def __init__(self, names: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
        self._silent = dict.fromkeys(names, 0)
        for line in lines:
            self.note(line)

    def note(self, line: Mapping[str, Any]) -> list[str]:
        """A line of metrics.jsonl -> the warnings that are due."""
        warnings = []
        for name, count in self._silent.items():
            value = line.get(name)
            if value is None or value != value:
                continue
            self._silent[name] = count + 1 if value == 0 else 0
            rounds, rest = divmod(self._silent[name], STEPS)
            if rounds and not rest and rounds & (rounds - 1) == 0:
                warnings.append(
                    f"WARNING: no completion has earned {name} in {self._silent[name]} logged steps; nothing is "
                    "learned from it. See completions.jsonl for what the model writes"
                )
        return warnings

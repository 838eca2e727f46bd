"""Training that dies in the middle, as a killed process would: what is on disk is all that is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Killed(Exception):
    pass


@contextmanager
def killed_after(steps: int) -> Iterator[None]:
    """Training in the body dies in the step after so many, counted in backward passes."""
    from transformers import Trainer

    original, count = Trainer.training_step, 0

    def step(self: Any, *arguments: Any, **settings: Any) -> Any:
        nonlocal count
        count += 1
        if count > steps:
            raise Killed
        return original(self, *arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "training_step", step)
        with pytest.raises(Killed):
            yield

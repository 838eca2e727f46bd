"""What stops a run before its first step: each bad input, one line, named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.processor import load_processor
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.grpo import checks
from qinsight_cli.core.training.images import check_images


@pytest.fixture(scope="module")
def processor(random_model: Path) -> Any:
    return load_processor(random_model)


def test_gold_answers_earn_full_reward(small_rows: list[Sample], processor: Any) -> None:
    assert 10 < checks.check_answers(small_rows, TASKS, {}, processor.tokenizer) < 40


def test_a_tokenizer_that_loses_the_answer_is_refused(small_rows: list[Sample]) -> None:
    class NoBraces:
        def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
            return {"input_ids": [ord(letter) for letter in text if letter not in "{}"]}

        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join(map(chr, ids))

    with pytest.raises(QInsightError, match="its own answer earns 0 of 2 after this model's tokenizer"):
        checks.check_answers([row for row in small_rows if row.task == "score"], TASKS, {}, NoBraces())


def test_the_longest_prompt_is_counted_as_the_processor_counts_it(small_rows: list[Sample], processor: Any) -> None:
    from qinsight_cli.core.images import load_image

    longest = 0
    for row in small_rows:
        roles = TASKS[row.task].order(row.images)
        text = processor.apply_chat_template(
            TASKS[row.task].messages(roles), add_generation_prompt=True, tokenize=False
        )
        images = [load_image(row.images[role]).image for role in roles]
        longest = max(longest, len(processor(text=[text], images=[images])["input_ids"][0]))
    found = check_images(small_rows)
    assert checks.check_lengths(small_rows, TASKS, found, processor, 32768, 20, 40) == longest
    with pytest.raises(QInsightError, match=f"takes {longest} tokens, and with 40 for the completion"):
        checks.check_lengths(small_rows, TASKS, found, processor, longest + 39, 20, 40)
    with pytest.raises(QInsightError, match="a right answer takes 20 tokens"):
        checks.check_lengths(small_rows, TASKS, found, processor, 32768, 20, 16)

"""What stops a run before its first step: each bad input, one line, named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.manifest import Sample
from qinsight_cli.core.models import load_processor
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training import checks


@pytest.fixture(scope="module")
def processor(random_model: Path) -> Any:
    return load_processor(random_model)


def with_image(row: Sample, path: Path) -> Sample:
    images: Mapping[str, Path] = {**row.images, "image": path}
    return replace(row, images=images)


def test_good_rows_pass_and_sizes_are_those_of_the_files(small_rows: list[Sample]) -> None:
    found = checks.check_images(small_rows)
    assert set(found.values()) == {(192, 128), (128, 192)}


def test_a_picture_that_is_not_there_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    missing = tmp_path / "gone.png"
    with pytest.raises(QInsightError, match=r"gone\.png is not there"):
        checks.check_images([*small_rows[:3], with_image(small_rows[0], missing)])


def test_a_picture_that_ends_too_soon_is_named(small_rows: list[Sample], tmp_path: Path) -> None:
    torn = tmp_path / "torn.png"
    content = small_rows[0].images["image"].read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    with pytest.raises(QInsightError, match=r"torn\.png cannot be used") as caught:
        checks.check_images([with_image(small_rows[0], torn)])
    assert "\n" not in str(caught.value)


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
    found = checks.check_images(small_rows)
    assert checks.check_lengths(small_rows, TASKS, found, processor, 32768, 20, 40) == longest
    with pytest.raises(QInsightError, match=f"takes {longest} tokens, and with 40 for the completion"):
        checks.check_lengths(small_rows, TASKS, found, processor, longest + 39, 20, 40)
    with pytest.raises(QInsightError, match="a right answer takes 20 tokens"):
        checks.check_lengths(small_rows, TASKS, found, processor, 32768, 20, 16)

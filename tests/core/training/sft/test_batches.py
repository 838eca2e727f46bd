"""Which rows come when, and what tensors they become."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS, PSEUDO_MOS_CLEAN
from qinsight_cli.core.data.reasoning import STATEMENTS, damage_sentence, measure_image
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.degradation import Degradation, parse
from qinsight_cli.core.training.images import check_images
from qinsight_cli.core.training.sft.answers import IGNORED, gold_completion
from qinsight_cli.core.training.sft.batches import Collator, plan_batches
from qinsight_cli.core.training.sft.recipe import Phase
from sft_recipe import gaussian

TALK = Phase("talk", "talk", 40, 6, 1e-3, {"score": 0.5, "degradation": 0.3, "comparison": 0.2})
SEE = replace(TALK, kind="see", crop=64, mix={"degradation": 1.0})


@pytest.fixture(scope="module")
def found(small_rows: list[Sample]) -> dict[Path, tuple[int, int]]:
    return check_images(small_rows)


def test_a_plan_repeats_from_its_seed_and_differs_with_another(
    small_rows: list[Sample], processor: Any, found: Any
) -> None:
    first = plan_batches(small_rows, TALK, processor, 1, found)
    assert len(first) == 40
    assert first == plan_batches(small_rows, TALK, processor, 1, found)
    assert first != plan_batches(small_rows, TALK, processor, 2, found)


def test_a_batch_has_one_picture_count_and_one_size(small_rows: list[Sample], processor: Any, found: Any) -> None:
    for batch in plan_batches(small_rows, TALK, processor, 0, found):
        rows = [small_rows[index] for index in batch]
        sizes = set()
        for row in rows:
            with Image.open(row.images[TASKS[row.task].order(row.images)[0]]) as image:
                sizes.add(Target.of(processor.image_processor).size(*image.size))
        (count,) = {len(row.images) for row in rows}
        assert len(sizes) == 1
        assert len(rows) == 6 // count


def test_classes_and_severities_come_equally_often(small_rows: list[Sample], processor: Any, found: Any) -> None:
    plan = plan_batches(small_rows, replace(SEE, steps=400), processor, 0, found)
    classes = Counter(small_rows[index].truth["distortion"] for batch in plan for index in batch)
    # 2,400 draws, five classes: 480 each, with a standard deviation of 20.
    assert set(classes) == {"noise", "blur", "compression", "darken", "null"}
    assert all(380 < count < 580 for count in classes.values())


def test_clean_pictures_come_more_often_when_asked(small_rows: list[Sample], processor: Any, found: Any) -> None:
    plan = plan_batches(small_rows, replace(SEE, steps=400, clean_weight=2.0), processor, 0, found)
    classes = Counter(small_rows[index].truth["distortion"] for batch in plan for index in batch)
    # 2,400 draws, a third of them clean: 800, and 400 of each class, with standard deviations of 23 and 18.
    assert 690 < classes["null"] < 910
    assert all(310 < classes[name] < 490 for name in ("noise", "blur", "compression", "darken"))


def test_ratings_of_known_damage_come_equally_often_by_class(
    small_rows: list[Sample], processor: Any, found: Any
) -> None:
    plan = plan_batches(small_rows, replace(SEE, steps=400, mix={"score": 1.0}), processor, 0, found)
    drawn = [small_rows[index] for batch in plan for index in batch]
    counts = Counter((row.extra["damage"], row.truth["rating"]) for row in drawn)
    # 2,400 draws: the clean photo, one row in 21, comes as often as each class of damage, 480 times.
    assert 380 < counts["null", PSEUDO_MOS_CLEAN] < 580
    # Each severity of each class comes 96 times, with a standard deviation of 10.
    assert all(50 < counts[damage, rating] < 145 for damage, five in PSEUDO_MOS.items() for rating in five)


def test_a_mix_without_rows_is_named(small_rows: list[Sample], processor: Any, found: Any) -> None:
    with pytest.raises(QInsightError, match="asks for score/koniq rows and the data has none"):
        plan_batches(small_rows, replace(TALK, mix={"score/koniq": 1.0}), processor, 0, found)


def test_talk_tensors_hold_the_prompt_that_inference_asks_and_the_gold_completion(
    small_rows: list[Sample], processor: Any
) -> None:
    rows = [row for row in small_rows if row.task == "score"][:2]
    collator = Collator(rows, processor, replace(TALK, crop=0), {})
    batch = collator([{"rows": [0, 1], "seed": 5}])
    for index, row in enumerate(rows):
        with Image.open(row.images["image"]) as image:
            prompt = processor.apply_chat_template(
                TASKS["score"].messages(("image",)), add_generation_prompt=True, tokenize=False
            )
            asked = processor(text=[prompt], images=[[image.convert("RGB")]])["input_ids"][0]
        said = processor.tokenizer(gold_completion(row) + "<|im_end|>")["input_ids"]
        ids = batch["input_ids"][index][batch["attention_mask"][index].bool()].tolist()
        assert ids == [*asked, *said]
        assert batch["weights"][index].bool().sum() == len(said)


def test_a_led_answer_repeats_another_damage_that_is_given(small_rows: list[Sample], processor: Any) -> None:
    """The reasoning keeps what it says of light and colour, names other damage, and only the answer is learned."""
    rows = [row for row in small_rows if row.task == "degradation" and row.reasoning][:6]
    batch = Collator(rows, processor, replace(TALK, crop=0, led_share=1.0), {})([{"rows": range(6), "seed": 3}])
    drawn = set()
    for row, ids, weights in zip(rows, batch["input_ids"], batch["weights"], strict=True):
        text = processor.tokenizer.decode(ids).rpartition("<think>")[2]  # the prompt has such tags too
        said, learned = text.split("<answer>")
        read = parse("<think>" + text)
        assert isinstance(read, Degradation)
        assert said.lower().count("there is ") == 1
        assert damage_sentence(read.distortion, read.severity) in said
        assert row.reasoning.partition(". ")[0] in said
        assert processor.tokenizer.decode(ids[weights > 0]) == learned.lstrip()  # a token may end in the space
        drawn.add((read.distortion, read.severity) == (row.truth["distortion"], row.truth["severity"]))
    assert False in drawn


def test_other_words_on_the_damage_are_not_led(small_rows: list[Sample], processor: Any) -> None:
    row = next(row for row in small_rows if row.task == "degradation" and row.truth["distortion"] == "noise")
    own = replace(row, reasoning="Much grain is seen in the sky.")
    batch = Collator([own], processor, replace(TALK, crop=0, led_share=1.0), {})([{"rows": [0], "seed": 3}])
    text = processor.tokenizer.decode(batch["input_ids"][0])
    assert "Much grain is seen in the sky." in text
    assert text.rpartition("<answer>")[2].count("noise") == 1


def test_uncropped_pixels_are_those_of_inference_or_their_mirror(small_rows: list[Sample], processor: Any) -> None:
    row = next(row for row in small_rows if row.task == "degradation")
    collator = Collator([row], processor, replace(SEE, crop=0), {})
    with Image.open(row.images["image"]) as opened:
        image = opened.convert("RGB")
    size = Target.of(processor.image_processor).size(*image.size)
    upright = processor.image_processor([image])["pixel_values"]
    mirror = image.resize(size, Image.Resampling.BICUBIC).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored = processor.image_processor([mirror], do_resize=False)["pixel_values"]
    seen = set()
    for seed in range(8):
        pixels = collator([{"rows": [0], "seed": seed}])["pixel_values"].numpy()
        seen.add("upright" if np.allclose(pixels, upright) else "mirror" if np.allclose(pixels, mirrored) else "other")
    assert seen == {"upright", "mirror"}


def test_see_labels(small_rows: list[Sample], processor: Any) -> None:
    rows = [row for row in small_rows if row.task == "degradation"]
    clean = next(index for index, row in enumerate(rows) if row.truth["distortion"] == "null")
    worst = next(index for index, row in enumerate(rows) if row.truth["severity"] == "catastrophic")
    batch = Collator(rows, processor, SEE, {})([{"rows": [clean, worst], "seed": 0}])
    assert batch["classes"][0] == 4
    assert batch["levels"].tolist() == [IGNORED, 4]
    assert batch["pseudo"][0] == pytest.approx(4.7)
    assert math.isnan(batch["ratings"][0])  # nobody rated it
    for index, zones in zip((clean, worst), batch["stated"].tolist(), strict=True):
        with Image.open(rows[index].images["image"]) as image:
            measures = measure_image(image.convert("RGB"))
        for zone, (measure, (cuts, _), margin) in zip(zones, STATEMENTS.values(), strict=True):
            value = getattr(measures, measure)
            edges = [edge for cut in cuts for edge in (cut - margin, cut + margin)]
            assert zone == sum(value > edge for edge in edges)
    assert batch["image_grid_thw"].tolist() == [[1, 4, 4], [1, 4, 4]]  # 64 x 64 in patches of 16


def test_windows_cut_whole_tokens_of_the_shapes_asked_for(small_rows: list[Sample], processor: Any) -> None:
    row = next(row for row in small_rows if row.task == "degradation")
    with Image.open(row.images["image"]) as image:
        width, height = Target.of(processor.image_processor).size(*image.size)
    phase = replace(SEE, crop=0, windows=((1.0, 1.0), (0.5, 1.0), (0.01, 0.01)))
    collator = Collator([row], processor, phase, {})
    seen = set()
    for seed in range(30):
        _, rows, columns = collator([{"rows": [0], "seed": seed}])["image_grid_thw"][0].tolist()
        seen.add((columns * 16, rows * 16))
    half = round(width * 0.5 / 32) * 32
    assert seen == {(width, height), (half, height), (32, 32)}


def test_soft_digits_stand_beside_the_tokens_they_replace(small_rows: list[Sample], processor: Any) -> None:
    rows = [next(row for row in small_rows if row.task == task) for task in ("degradation", "score")]
    collator = Collator(rows, processor, replace(TALK, crop=64), {}, rating_spread=0.4)
    for seed in range(5):
        batch = collator([{"rows": [0, 1, 1], "seed": seed}])
        assert batch["digit_places"][:, 0].tolist() == [1, 1, 2, 2]  # a degradation has no rating
        tokens = processor.tokenizer.convert_ids_to_tokens(batch["digit_ids"])
        assert tokens == [str(digit) for digit in range(10)]
        for (row, column), target in zip(batch["digit_places"], batch["digit_targets"], strict=True):
            written = batch["digit_ids"].tolist().index(batch["input_ids"][row, column].item())
            assert target[written] > 0
            assert target.sum().item() == pytest.approx(1)
        first = gaussian(rows[1].truth["rating"], 0.4)
        for place in (0, 2):
            for digit in range(1, 6):
                chance = sum(value for name, value in first.items() if name[0] == str(digit))
                assert batch["digit_targets"][place, digit].item() == pytest.approx(chance, abs=1e-6)


def test_a_share_of_rows_is_answered_without_reasoning(small_rows: list[Sample], processor: Any) -> None:
    row = next(row for row in small_rows if row.task == "degradation" and row.reasoning)
    counts = {}
    for share in (0.0, 0.3, 1.0):
        collator = Collator([row], processor, replace(TALK, crop=64, direct_share=share), {})
        texts = [
            processor.tokenizer.decode(collator([{"rows": [0], "seed": seed}])["input_ids"][0]) for seed in range(60)
        ]
        counts[share] = sum(row.reasoning not in text for text in texts)
    assert counts[0.0] == 0
    assert counts[1.0] == 60
    assert 8 <= counts[0.3] <= 29  # 18, with a standard deviation of 3.5


def test_the_opening_of_an_answer_without_reasoning_is_not_learned(small_rows: list[Sample], processor: Any) -> None:
    row = next(row for row in small_rows if row.task == "degradation" and row.reasoning)
    learned = {}
    for share in (0.0, 1.0):
        collator = Collator([row], processor, replace(TALK, crop=64, direct_share=share), {})
        batch = collator([{"rows": [0], "seed": 0}])
        kept = batch["input_ids"][0][batch["weights"][0] > 0]
        learned[share] = processor.tokenizer.decode(kept)
    assert learned[0.0].startswith("<think>")
    assert "<think>" not in learned[1.0]
    assert "<answer>" not in learned[1.0]
    assert row.truth["distortion"] in learned[1.0]

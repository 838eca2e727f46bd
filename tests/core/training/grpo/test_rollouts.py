"""Rollouts: their probabilities, their draws, and the pictures that they see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.training.grpo import packing
from small_trainers import Build, batch_of


def test_rollouts_follow_the_networks_own_probabilities(build: Build) -> None:
    """The first token of many draws against the softmax of a plain forward pass."""
    trainer = build(num_generations=2, per_device_train_batch_size=6)
    row = trainer.train_dataset[0]
    batch = batch_of(trainer)
    prompt = batch["prompt_ids"][0][batch["prompt_mask"][0].bool()]
    patches = int(batch["image_grid_thw"][0].prod())
    with torch.no_grad():
        logits = trainer._network(
            input_ids=prompt[None],
            mm_token_type_ids=(prompt[None] == trainer._network.config.image_token_id).int(),
            pixel_values=batch["pixel_values"][:patches],
            image_grid_thw=batch["image_grid_thw"][:1],
        ).logits[0, -1]
    logits[trainer._banned] = -torch.inf
    expected = logits.softmax(0)
    count = 4000
    prompts = packing.Prompts(
        [prompt.tolist()], batch["pixel_values"][:patches], batch["image_grid_thw"][:1], (1,), copies=count
    )
    decoding = packing.Decoding(max_new_tokens=1, temperature=1.0)
    draws = torch.rand(count, 1, generator=torch.Generator().manual_seed(1))
    drawn = packing.roll_out(
        trainer._network, trainer._tokenizer, prompts, decoding, draws, trainer._banned, trainer.eos_token_ids
    )
    seen = torch.bincount(torch.tensor([tokens[0] for tokens in drawn]), minlength=len(expected)) / count
    # Standard error of the commonest token is below 0.008.
    assert (seen - expected).abs().max() < 0.03
    assert row["task"] == "score"


def test_completions_are_the_same_however_many_are_written_at_a_time(build: Build) -> None:
    whole, parts = (batch_of(build(rollout_batch=size))["completion_ids"] for size in (64, 4))
    assert whole.tolist() == parts.tolist()


def test_vllm_is_given_prompts_and_pictures_that_fit_them(build: Build, tmp_path: Path) -> None:
    """What TRL's vLLM backend receives; vLLM itself needs a GPU."""

    class Vllm:
        def sync_weights(self) -> None:
            pass

        def generate(self, prompts: Any, images: Any, num_generations: int, **_: Any) -> Any:
            received.update(prompts=prompts, images=images)
            return None, [[5, 6]] * len(prompts), [[[-1.0], [-1.0]]] * len(prompts), None

    received: dict[str, Any] = {}
    trainer = build()
    trainer.use_vllm, trainer._rolls_out, trainer._last_loaded_step = True, False, -1
    trainer.vllm_generation = Vllm()
    trainer.vllm_importance_sampling_correction = False
    batch = batch_of(trainer)
    assert batch["completion_ids"].tolist() == [[5, 6]] * 12
    area = (trainer.processing_class.image_processor.patch_size * 2) ** 2
    pad = trainer._network.config.image_token_id
    for prompt, images in zip(received["prompts"], received["images"], strict=True):
        assert prompt.count(pad) == sum(image.width * image.height // area for image in images)


def test_a_completion_ends_with_its_end_of_text_token(build: Build) -> None:
    trainer = build()
    eos = trainer._tokenizer.eos_token_id
    assert packing._until_end([5, eos, 7, eos], [eos]) == [5, eos]
    assert packing._until_end([5, 6], [eos]) == [5, 6]


def test_draws_do_not_depend_on_the_number_of_processes() -> None:
    whole = packing.draws_of(3, 10, range(16), 8, 5)
    torch.testing.assert_close(
        torch.cat([packing.draws_of(3, 10, range(4 * i, 4 * i + 4), 8, 5) for i in range(4)]), whole
    )
    assert not torch.equal(whole, packing.draws_of(3, 11, range(16), 8, 5))
    assert not torch.equal(whole[:8], whole[8:])


def test_pictures_are_opened_once_a_step_as_inference_opens_them(
    build: Build, monkeypatch: pytest.MonkeyPatch, random_model: Path
) -> None:
    from qinsight_cli.core.training.grpo import path_processor

    opened: list[str] = []
    original = path_processor.load_image

    def counting(path: str) -> Any:
        opened.append(path)
        return original(path)

    monkeypatch.setattr(path_processor, "load_image", counting)
    trainer = build()
    batch = batch_of(trainer)
    paths = {path for row in trainer.train_dataset for path in row["images"]}
    assert sorted(opened) == sorted(paths)
    processor = load_model(str(random_model), "cpu").processor
    first = processor.image_processor([original(trainer.train_dataset[0]["images"][0]).image])["pixel_values"]
    torch.testing.assert_close(batch["pixel_values"][: len(first)], torch.as_tensor(first), rtol=0, atol=0)

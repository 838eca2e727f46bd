"""The trainer against independent computation: Eq. 1 and 2 by hand, shared prompts, rollouts, draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.training.grpo import packing
from qinsight_cli.core.training.grpo.path_processor import path_processor
from qinsight_cli.core.training.grpo.run import dataset
from qinsight_cli.core.training.grpo.trainer import MultiTaskTrainer

BETA, CLIP = 0.05, 0.05

Build = Callable[..., MultiTaskTrainer]


def words(completions: list[Any], **_: Any) -> list[float]:
    """A reward that differs from completion to completion, whatever a network writes."""
    return [float(len(completion[0]["content"]) % 7) for completion in completions]


@pytest.fixture
def build(random_model: Path, small_rows: list[Sample], tmp_path: Path) -> Build:
    """A trainer on two rows with one picture and one with several."""
    from trl import GRPOConfig

    chosen = [next(row for row in small_rows if row.task == task) for task in ("score", "degradation", "comparison")]

    def make(shared: bool = True, rows: list[Sample] = chosen, **more: Any) -> MultiTaskTrainer:
        model = load_model(str(random_model), "cpu", "float32")
        settings: dict[str, Any] = {
            "max_steps": 1,
            "per_device_train_batch_size": 12,
            "num_generations": 4,
            "max_completion_length": 12,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "loss_type": "grpo",
            "beta": BETA,
            "epsilon": CLIP,
            "use_bias_correction_kl": False,
            "bf16": False,
            "gradient_checkpointing": False,
            **more,
        }
        own = {
            name: settings.pop(name)
            for name in ("skip_zero_variance", "rollout_batch", "final_learning_rate")
            if name in settings
        }
        rewards = settings.pop("rewards", [words])
        return MultiTaskTrainer(
            model=model.network,
            args=GRPOConfig(
                output_dir=str(tmp_path),
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                **settings,
            ),
            train_dataset=dataset(rows, TASKS),
            processing_class=path_processor(model.processor, 16),
            reward_funcs=rewards,
            shared=shared,
            **own,
        )

    return make


def batch_of(trainer: MultiTaskTrainer) -> dict[str, Any]:
    """Completions of every row, with their log-probabilities under the policy as it is."""
    trainer.model.train()
    rows = [row for row in trainer.train_dataset for _ in range(4)]
    return trainer._generate_and_score_completions(rows)


def log_probs(network: Any, batch: dict[str, Any], index: int) -> torch.Tensor:
    """Of one completion, from the logits of a plain forward pass over that row alone, without padding."""
    prompt = batch["prompt_ids"][index][batch["prompt_mask"][index].bool()]
    completion = batch["completion_ids"][index][batch["completion_mask"][index].bool()]
    patches = batch["image_grid_thw"].prod(1)
    first, count = sum(batch["num_images"][:index]), batch["num_images"][index]
    start, end = int(patches[:first].sum()), int(patches[: first + count].sum())
    ids = torch.cat([prompt, completion])[None]
    logits = network(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == network.config.image_token_id).int(),
        pixel_values=batch["pixel_values"][start:end],
        image_grid_thw=batch["image_grid_thw"][first : first + count],
        use_cache=False,
    ).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(1).gather(1, completion[:, None])[:, 0]


def loss_by_hand(network: Any, reference: Any, batch: dict[str, Any], rewards: torch.Tensor) -> torch.Tensor:
    """Eq. 1 and 2, with k3 for the KL divergence; the ratio of each token to its probability when it was drawn."""
    losses = []
    for index, reward in enumerate(rewards.tolist()):
        group = rewards[index // 4 * 4 : index // 4 * 4 + 4]
        advantage = (reward - group.mean()) / (group.std(correction=1) + 1e-4)
        new, start = log_probs(network, batch, index), log_probs(reference, batch, index)
        old = batch["old_per_token_logps"][index][: len(new)] if "old_per_token_logps" in batch else new.detach()
        ratio = (new - old).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        divergence = (start - new).exp() - (start - new) - 1
        losses.append(-(gain - BETA * divergence).mean())
    return torch.stack(losses).mean()


def test_the_loss_is_eq_1_and_2(build: Build, random_model: Path) -> None:
    trainer = build(num_iterations=2)
    batch = batch_of(trainer)
    assert "old_per_token_logps" in batch
    batch["completion_mask"][0, 5:] = batch["completion_mask"][6, 3:] = 0  # as if these had ended sooner
    rewards = torch.tensor(list(trainer._logs["rewards"]["words"]))
    network, reference = trainer._network, load_model(str(random_model), "cpu", "float32").network
    trainer.current_gradient_accumulation_steps = 1
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(
        loss_by_hand(network, reference, batch, rewards).item(), abs=1e-6
    )
    with torch.no_grad():  # as an update would: ratios leave 1, some the clip range, and the KL is no longer 0
        generator = torch.Generator().manual_seed(0)
        for value in network.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=generator))
    ours = trainer.compute_loss(trainer.model, batch)
    by_hand = loss_by_hand(network, reference, batch, rewards)
    assert abs(by_hand.item()) > 1e-3
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert trainer._metrics["train"]["clip_ratio/region_mean"][-1] > 0


def test_gradients_with_shared_prompts_are_those_without(build: Build) -> None:
    gradients = []
    batch: dict[str, Any] = {}
    for shared in (True, False):
        trainer = build(shared=shared)
        batch = batch or batch_of(trainer)
        trainer.current_gradient_accumulation_steps = 1
        trainer.compute_loss(trainer.model, batch).backward()
        gradients.append({name: value.grad for name, value in trainer._network.named_parameters()})
    for name, ours in gradients[0].items():
        assert ours is not None, name
        torch.testing.assert_close(ours, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_a_batch_in_parts_and_rows_without_tokens(build: Build) -> None:
    trainer = build()
    batch = batch_of(trainer)
    batch["completion_mask"][1] = 0
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    rows = packing.Rows(
        ids,
        mask,
        batch["completion_ids"].shape[1],
        batch["pixel_values"],
        batch["image_grid_thw"],
        tuple(batch["num_images"]),
    )
    assert [len(group.input_ids) for group in rows.groups()] == [4, 4, 4]
    whole, entropies = packing.shared_log_probs(trainer.model, trainer._network, rows)
    assert entropies is not None
    parts = [packing.shared_log_probs(trainer.model, trainer._network, rows.part(*at))[0] for at in ((0, 3), (3, 12))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)
    assert not whole[1].any()


def test_skipped_groups_leave_no_trace(build: Build) -> None:
    def only_first_group(completions: list[Any], **_: Any) -> list[float]:
        return [float(index % 2) if index < 4 else 1.0 for index in range(len(completions))]

    batch = batch_of(build(skip_zero_variance=True, rewards=[only_first_group]))
    assert batch["completion_mask"].any(1).tolist() == [True] * 4 + [False] * 8
    plain = batch_of(build(rewards=[only_first_group]))
    assert plain["completion_mask"].any(1).all()


def test_groups_of_equal_rewards_leave_no_trace_and_no_completion_of_another_does(build: Build) -> None:
    """Equal within rounding; and a completion that earns the mean of its group stays, for its KL counts."""

    def rewards(completions: list[Any], **_: Any) -> list[float]:
        assert len(completions) == 12
        return [0.0, 1.0, 0.5, 0.5, *[1.0, 1.0 + 2e-7, 1.0, 1.0 + 1e-7], 0.3, 0.3, 0.3, 0.31]

    batch = batch_of(build(skip_zero_variance=True, rewards=[rewards]))
    assert batch["advantages"][2] == 0.0
    assert (batch["advantages"][4:8] != 0).any()  # what rounding leaves of equal rewards
    assert batch["completion_mask"].any(1).tolist() == [True] * 4 + [False] * 4 + [True] * 4


class WithoutDefaults:
    """Of an optimizer only what DeepSpeed's ZeRO-3 optimizer has: no `defaults`."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.param_groups, self.step = inner.param_groups, inner.step


def test_the_schedule_asks_nothing_of_the_optimizer_that_deepspeeds_lacks(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(max_steps=10, final_learning_rate=1e-4)
    inner = torch.optim.SGD(trainer.model.parameters(), lr=1e-3)
    monkeypatch.setattr(torch.optim.lr_scheduler, "Optimizer", (torch.optim.Optimizer, WithoutDefaults))
    schedule = trainer.create_scheduler(10, WithoutDefaults(inner))
    rates = [schedule.get_last_lr()[0]]
    for _ in range(10):
        inner.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert rates == pytest.approx([1e-3 - 9e-5 * step for step in range(11)])
    assert build().create_scheduler(10, inner).get_last_lr() == [1e-3]  # without an end it is transformers' own


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

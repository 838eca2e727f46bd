"""The trainer against independent computation: Eq. 1 and 2 by hand, shared prompts, rollouts, draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.training.grpo import packing
from small_trainers import BETA, CLIP, Build, batch_of


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

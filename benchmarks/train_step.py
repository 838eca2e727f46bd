"""Speed of a GRPO update of `qinsight train`, compared with the plainest TRL script for the same work.

    python benchmarks/train_step.py [--model NAME] [--prompts 4] [--tokens 64] [--rounds 3] [--threads N]

Both sides are TRL's GRPOTrainer with the same weights, rows, rewards and settings: eight rollouts a prompt, their
rewards, the reference model, and one AdamW step. They take turns; times are the best of the rounds. It also compares
the loss and the gradient of one batch. Prints a table, then one JSON line. Without --model the network has tiny's size
and random weights, and its completions never end before the limit.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

from measuring import option_parser, random_model, real_photos, report

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

GENERATIONS = 8
STAGES = ("rollouts and rewards", "loss and gradient", "optimizer")


def main() -> None:
    options = _options()
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or random_model(Path(folder) / "model")
        rows = _rows(Path(folder), options.prompts)
        sides = {name: _trainer(model, rows, options, Path(folder), name == "qinsight") for name in ("trl", "qinsight")}
        same = _same_batch(sides)
        times = _taking_turns(sides, options.rounds)
    table = [
        {"what": f"{stage}, seconds", "trl": trl, "qinsight": ours, "ratio": trl / ours}
        for stage, trl, ours in zip(STAGES, times["trl"], times["qinsight"], strict=True)
    ]
    rate = {name: options.prompts * GENERATIONS / sum(seconds) for name, seconds in times.items()}
    ratio = rate["qinsight"] / rate["trl"]
    table.append({"what": "rollouts a second", **rate, "ratio": ratio})
    report(
        "train_step",
        table,
        model=options.model or "random weights, tiny's size",
        prompts=options.prompts,
        generations=GENERATIONS,
        tokens=options.tokens,
        threads=torch.get_num_threads(),
        rollouts_per_s=rate,
        ratio=ratio,
        **same,
    )


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--model", help="any name that qinsight takes")
    parser.add_argument("--prompts", type=int, default=4, help="prompts an update")
    parser.add_argument("--tokens", type=int, default=64, help="tokens per completion, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    return parser.parse_args()


def _rows(folder: Path, prompts: int) -> list[Any]:
    """Score and degradation rows on crops of real photos, 480 x 320 pixels."""

    from qinsight_cli.core.data.manifest import Sample

    photos = real_photos()
    rows = []
    for index in range(prompts):
        path = folder / f"{index}.jpg"
        photos[index % 3].crop((index, index, index + 480, index + 320)).save(path, quality=95)
        truth = {"rating": 3.0} if index % 2 == 0 else {"distortion": "noise", "severity": "slight"}
        task = "score" if index % 2 == 0 else "degradation"
        rows.append(Sample(str(index), task, "train", "photos", {"image": path}, truth))
    return rows


def _trainer(model: str, rows: list[Any], options: argparse.Namespace, folder: Path, ours: bool) -> Any:
    from trl import GRPOConfig, GRPOTrainer

    from qinsight_cli.core.models.loading import load_model
    from qinsight_cli.core.training.grpo.path_processor import path_processor
    from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
    from qinsight_cli.core.training.grpo.rewards import reward_functions, tasks_of
    from qinsight_cli.core.training.grpo.run import dataset
    from qinsight_cli.core.training.grpo.trainer import MultiTaskTrainer

    loaded = load_model(model, dtype="float32")
    recipe = GrpoRecipe()
    functions, weights = reward_functions(recipe)
    settings = {
        "model": loaded.network,
        "args": GRPOConfig(
            output_dir=str(folder / "out"),
            use_cpu=loaded.network.device.type == "cpu",
            per_device_train_batch_size=options.prompts * GENERATIONS,
            num_generations=GENERATIONS,
            max_completion_length=options.tokens,
            loss_type="grpo",
            beta=recipe.beta,
            use_bias_correction_kl=False,
            reward_weights=weights,
            learning_rate=1e-9,  # both sides keep the weights that they compare
            max_steps=1,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
        ),
        "reward_funcs": functions,
        "train_dataset": dataset(rows, tasks_of(recipe)),
    }
    if ours:
        trainer = MultiTaskTrainer(processing_class=path_processor(loaded.processor, options.prompts), **settings)
    else:
        embedding = getattr(loaded.network.model.visual, "patch_embed", None)
        if embedding is not None:
            del embedding.forward  # TRL alone: transformers' own patch embedding
        trainer = GRPOTrainer(processing_class=loaded.processor, **settings)
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def _same_batch(sides: dict[str, Any]) -> dict[str, Any]:
    """Both losses of one batch, drawn and rewarded by plain TRL, and the relative difference of the gradients."""
    import torch

    plain = sides["trl"]
    batch = plain._prepare_inputs([row for row in plain.train_dataset for _ in range(GENERATIONS)])
    # Advantages that are not 0 and ratios that are not 1: otherwise the loss would not depend on the probabilities.
    batch["advantages"] = torch.linspace(-1, 2, len(batch["advantages"]), device=batch["advantages"].device)
    batch["old_per_token_logps"] = batch["ref_per_token_logps"] + 0.05
    losses, gradients = [], []
    for trainer in sides.values():
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([value.grad.flatten() for value in trainer.model.parameters()]))
        trainer.model.zero_grad()
        trainer._step += 1
    apart = ((gradients[0] - gradients[1]).norm() / gradients[0].norm()).item()
    return {"loss": losses, "gradient": apart}


def _taking_turns(sides: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Seconds of each stage in the fastest round; one round before is not measured."""
    best = {name: [float("inf")] for name in sides}
    for number in range(rounds + 1):
        for name, trainer in sides.items():
            seconds = _step(trainer)
            if number and sum(seconds) < sum(best[name]):
                best[name] = seconds
    return best


def _step(trainer: Any) -> list[float]:
    marks = [time.perf_counter()]
    inputs = trainer._prepare_inputs([row for row in trainer.train_dataset for _ in range(GENERATIONS)])
    marks.append(time.perf_counter())
    trainer.compute_loss(trainer.model, inputs).backward()
    marks.append(time.perf_counter())
    trainer.optimizer.step()
    trainer.model.zero_grad()
    trainer._step += 1
    trainer.state.global_step += 1
    marks.append(time.perf_counter())
    return [end - start for start, end in pairwise(marks)]


if __name__ == "__main__":
    main()

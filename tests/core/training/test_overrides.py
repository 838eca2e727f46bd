"""Private methods of transformers and TRL that the trainers override: there, and with the parameters we read.

A release that changes one fails here first. Read the new method, then bring the list and our override up to it.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from transformers import Trainer
from trl import GRPOTrainer, SFTTrainer

from qinsight_cli.core.training.finite import FiniteSteps
from qinsight_cli.core.training.grpo import trainer
from qinsight_cli.core.training.sft import trainers

OVERRIDDEN = {
    (Trainer, "_load_from_checkpoint"): "resume_from_checkpoint, model",
    (Trainer, "_save"): "output_dir, state_dict",
    (Trainer, "_get_grad_norm"): "model, grad_norm",
    (Trainer, "_get_train_sampler"): "train_dataset",
    (GRPOTrainer, "_tokenize_prompts"): "prompts",
    (GRPOTrainer, "_generate_single_turn"): "prompt_ids, images, multimodal_fields, num_generations, has_tool_images",
    (GRPOTrainer, "_prepare_inputs"): "generation_batch",
    (GRPOTrainer, "_generate_and_score_completions"): "inputs",
    (GRPOTrainer, "_get_per_token_logps_and_entropies"): (
        "model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss, "
        "pixel_values, image_grid_thw, num_images"
    ),
}


@pytest.mark.parametrize(("owner", "name"), OVERRIDDEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_method_that_is_overridden_is_there_as_it_was_read(owner: type, name: str) -> None:
    found = list(inspect.signature(vars(owner)[name]).parameters)[1:]
    expected = OVERRIDDEN[owner, name].split(", ")
    assert found[: len(expected)] == expected


def test_the_docstrings_list_every_private_method_that_is_overridden() -> None:
    ours = {
        trainer.MultiTaskTrainer: (trainer.MultiTaskTrainer.__doc__, GRPOTrainer),
        trainers.PlannedSteps: (trainers.__doc__, SFTTrainer),
        trainers.TalkingTrainer: (trainers.__doc__, SFTTrainer),
        FiniteSteps: (trainers.__doc__, Trainer),
    }
    for kind, (told, base) in ours.items():
        private = [name for name in vars(kind) if name.startswith("_") and not name.startswith("__")]
        overridden = [name for name in private if hasattr(base, name)]
        for name in overridden:
            assert told is not None
            assert name in told, f"{kind.__name__}.{name}"
            assert any(known == name for _, known in OVERRIDDEN), name


def test_the_versions_are_those_that_were_read() -> None:
    assert version("trl").startswith("1.16.")
    assert version("transformers").startswith("5.23.")

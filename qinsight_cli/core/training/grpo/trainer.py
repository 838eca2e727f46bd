"""TRL's GRPOTrainer with what the multi-task run needs: shared prompts, a resume that works, groups kept together.

Imports torch and trl: import this module only when a model is in use.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import torch
from accelerate.utils import AutocastKwargs, DistributedType, is_peft_model
from PIL.Image import Resampling
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.optim.lr_scheduler import LambdaLR
from trl import GRPOTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from qinsight_cli.core.engines import Decoding
from qinsight_cli.core.engines.local import PICTURE_TOKENS
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.training.final_model import load_checkpoint, tied
from qinsight_cli.core.training.finite import FiniteSteps
from qinsight_cli.core.training.grpo import packing
from qinsight_cli.core.training.grpo.trl_settings import linear_factor

# Only where each process holds all weights and may take any number of decoding steps.
OWN_LOOP = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


EQUAL = 1e-6  # rewards that differ by less are equal: float32 rounds weighted sums


class MultiTaskTrainer(FiniteSteps, GRPOTrainer):
    """GRPOTrainer; `shared` computes prompts once per group, `skip_zero_variance` drops groups whose rewards are all
    equal, `rollout_batch` is how many completions are written at a time, and `final_learning_rate` is where the
    learning rate ends.

    A group that straddles two processes is shared within each. With vLLM, FSDP or DeepSpeed the rollouts are TRL's;
    the update shares prompts everywhere.

    Private methods of the libraries that are overridden here, read in TRL 1.16 and transformers 5.23;
    `tests/core/training/test_overrides.py` fails if one is gone or has other parameters. The test named last (in
    `tests/core/training/grpo`) fails if its behaviour changes:

    _load_from_checkpoint   (transformers) Trainer does not find the names of a vision-language checkpoint and would
                            load nothing; test_run, a killed run resumes to the same steps and weights
    _get_grad_norm          (transformers, in `FiniteSteps`) to stop before a step that is not finite; test_run, the
                            first number that is not finite ends a run
    _save                   (transformers) tied weights that were gathered would be written twice; test_sharded
    _tokenize_prompts       TRL tokenizes and cuts up pictures once for each completion, here once for each prompt;
                            test_rollouts, pictures are opened once a step
    _generate_single_turn   one prefill a prompt, and draws that depend on neither batch nor process; test_rollouts,
                            rollouts follow the network's own probabilities
    _prepare_inputs         TRL shuffles completions between the parts of a step, which parts groups; test_trainer,
                            gradients with shared prompts are those without
    _generate_and_score_completions   to leave out groups without variance, and to know the rows of a step;
                            test_trainer, groups of equal rewards leave no trace
    _get_per_token_logps_and_entropies   the prompt computed once a group; test_trainer, the loss is Eq. 1 and 2

    Read, not overridden: `_tokenizer`, `_step`, `_logs`, `_metrics`, `reward_func_names`, `eos_token_ids`.
    """

    def __init__(
        self,
        shared: bool = True,
        skip_zero_variance: bool = False,
        rollout_batch: int = 64,
        final_learning_rate: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._rollout_batch = rollout_batch
        self._final_learning_rate = final_learning_rate
        self._rows: list[str] = []
        self._network = self._base(self.model)
        self._skips_zero_variance = skip_zero_variance
        self._shares_prompts = shared and self._network.config._attn_implementation == "sdpa"
        self._rolls_out = shared and not self.use_vllm and self.accelerator.distributed_type in OWN_LOOP
        self._copies = 1
        self._buffered_inputs: Any = None
        known = self._tokenizer.get_vocab()
        banned = sorted({known[token] for token in PICTURE_TOKENS if token in known})
        self._banned = torch.tensor(banned, device=self.accelerator.device)

    @staticmethod
    def _base(model: Any) -> Any:
        return model.get_base_model() if is_peft_model(model) else model

    # Steps

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        whole_precision(self.accelerator)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Linear from the learning rate to the final one. Built here because transformers' "polynomial" needs the
        optimizer's `defaults`, which DeepSpeed's lacks."""
        if self._final_learning_rate is None:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:  # type: ignore[has-type]
            factor = linear_factor(
                self.args.get_warmup_steps(num_training_steps),
                num_training_steps,
                self._final_learning_rate / self.args.learning_rate,
            )
            self.lr_scheduler = LambdaLR(optimizer if optimizer is not None else self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def rows_of_step(self) -> list[str]:
        return self._rows

    # Resume

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        network = self.accelerator.unwrap_model(model if model is not None else self.model)
        if is_peft_model(network) or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_checkpoint(network, resume_from_checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        for name in tied(self._network) if state_dict else ():
            state_dict.pop(name, None)  # gathered shards are copies, in which transformers sees no tie
        super()._save(output_dir, state_dict)

    # Rollouts

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, Any]:
        if not self._rolls_out:
            return super()._tokenize_prompts(prompts)
        self._copies = _run_length(prompts)
        ids, images, fields = super()._tokenize_prompts(prompts[:: self._copies])
        return _repeated(ids, self._copies), images and _repeated(images, self._copies), fields

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, num_generations: int, *rest: Any, **more: Any
    ) -> tuple[list[list[int]], Any]:
        if not self._rolls_out:
            if self.use_vllm and images:
                images = _opened(images, self.processing_class.image_processor)
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, *rest, **more)
        first = self.accelerator.process_index * len(prompt_ids)
        rows = range(first, first + len(prompt_ids))
        draws = packing.draws_of(
            self.args.seed, self.state.global_step, rows, num_generations, self.max_completion_length
        )
        prompts = packing.Prompts(
            ids=[list(ids) for ids in prompt_ids[:: self._copies]],
            pixels=torch.as_tensor(multimodal_fields["pixel_values"]),
            grids=torch.as_tensor(multimodal_fields["image_grid_thw"]),
            pictures=tuple(len(row) for row in images[:: self._copies]),
            copies=self._copies,
        )
        decoding = Decoding(
            max_new_tokens=self.max_completion_length,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
        )
        checkpointing = self.args.gradient_checkpointing_kwargs
        with (
            unwrap_model_for_generation(
                self.model_wrapped, self.accelerator, gradient_checkpointing_kwargs=checkpointing
            ) as model,
            self.accelerator.autocast(),
        ):
            network = self._base(model)
            draws = draws.to(network.device)
            tokens: list[list[int]] = []
            for part in prompts.parts(max(1, self._rollout_batch // self._copies)):
                own = draws[len(tokens) : len(tokens) + len(part.ids) * self._copies]
                tokens += packing.roll_out(
                    network, self._tokenizer, part, decoding, own, self._banned, self.eos_token_ids
                )
        return tokens, None

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """As TRL's, but the completions of a prompt stay together: the gradient is the same sum either way."""
        if not self.model.training or not self._shares_prompts:
            return super()._prepare_inputs(generation_batch)
        steps = self.args.steps_per_generation
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            parts = split_tensor_dict(split_pixel_values_by_grid(batch), steps)
            self._buffered_inputs = [unsplit_pixel_values_by_grid(part) for part in parts]
        return self._buffered_inputs[self._step % steps]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self._rows = [str(row.get("id", index)) for index, row in enumerate(inputs)]
        batch = super()._generate_and_score_completions(inputs)
        if self._skips_zero_variance:
            # No token of a group without variance counts: it adds no KL and needs no forward pass.
            varied = self._in_varied_groups(len(inputs)).to(batch["completion_mask"].device)
            batch["completion_mask"] = batch["completion_mask"] * varied.unsqueeze(1)
        return batch

    def _in_varied_groups(self, count: int) -> Tensor:
        """For each of this process's `count` completions, whether the rewards of its group differ."""
        given = torch.tensor([list(self._logs["rewards"][name]) for name in self.reward_func_names])
        totals = (given * self.reward_weights.to(given)[:, None]).nansum(0).view(-1, self.num_generations)
        varied = (totals.amax(1) - totals.amin(1) > EQUAL).repeat_interleave(self.num_generations)
        start = self.accelerator.process_index * count
        return varied[start : start + count]

    # The update

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        num_images: list[int] | None = None,
        **more: Any,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Log-probabilities (rows, logits_to_keep) of the completions, each group's prompt computed once."""
        if not self._shares_prompts or pixel_values is None or image_grid_thw is None or num_images is None:
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                compute_entropy=compute_entropy,
                pixel_values=pixel_values,
                image_grid_thw=image_grid_thw,
                num_images=num_images,
                **more,
            )
        rows = packing.Rows(input_ids, attention_mask, logits_to_keep, pixel_values, image_grid_thw, tuple(num_images))
        size = batch_size or len(input_ids)
        parts = []
        for start in range(0, len(input_ids), size):
            with self.accelerator.autocast():
                part = rows.part(start, min(start + size, len(input_ids)))
                parts.append(packing.shared_log_probs(model, self._network, part))
        log_probs = torch.cat([part[0] for part in parts])
        entropies = [part[1] for part in parts if part[1] is not None]
        return log_probs, torch.cat(entropies) if compute_entropy else None, None


def whole_precision(accelerator: Any) -> None:
    """Under FSDP 2 everything but matrix products stays float32, as in one process under autocast.

    Accelerate's policy rounds weights, what goes from layer to layer, log-probabilities and gradient sums to bfloat16,
    which leaves little of a KL divergence of 1e-4. Here weights are gathered as they are, and autocast rounds what it
    rounds in one process. It keeps no rounded copies for later: together they would be a whole model.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
        accelerator.autocast_handler = AutocastKwargs(cache_enabled=False)


def _opened(images: list[list[str]], image_processor: Any) -> list[list[Any]]:
    """Paths -> pictures for vLLM, already of the size that the prompt has room for, whatever limits vLLM has."""
    opened = {}
    for path in {path for row in images for path in row}:
        picture = image_processor.fetch_images(path)
        opened[path] = picture.resize(Target.of(image_processor).size(*picture.size), Resampling.BICUBIC)
    return [[opened[path] for path in row] for row in images]


def _run_length(prompts: list[Any]) -> int:
    """The largest number that divides the length of every run of equal prompts."""
    starts = [0] + [index for index in range(1, len(prompts)) if prompts[index] != prompts[index - 1]]
    return gcd(*(end - start for start, end in zip(starts, [*starts[1:], len(prompts)], strict=True)))


def _repeated(values: list[Any], copies: int) -> list[Any]:
    return [value for value in values for _ in range(copies)]

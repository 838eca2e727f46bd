"""The model of the first phase: an existing one, or a new one standardised on its training pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.models.loading import Model, load_model
from qinsight_cli.core.training.devices import processes
from qinsight_cli.core.training.run_folder import whole_folder
from qinsight_cli.core.training.sft.answers import gold_completion
from qinsight_cli.core.training.sft.new_model import build
from qinsight_cli.core.training.sft.recipe import SftRecipe

PICTURES = 200  # pictures to standardise a new vision module on
CORPUS = 20_000  # completions, at most, to train a new tokenizer on


def starting_model(recipe: SftRecipe, samples: Sequence[Sample], new: Path) -> Model:
    """The recipe's model in its dtype; a new one is written atomically to the folder `new`."""
    if recipe.model != "new":
        # With several processes, the trainer moves the weights to the device of each.
        where = "auto" if processes() == 1 else "cpu"
        return load_model(recipe.model, device=where, dtype=recipe.dtype, max_pixels=recipe.max_pixels)
    if new.is_dir():
        return load_model(str(new), device="cpu", dtype="float32")
    with whole_folder(new) as folder:
        corpus = [gold_completion(sample) for sample in samples[:: max(1, len(samples) // CORPUS)]]
        build(folder, corpus, recipe.network, recipe.seed)
        model = load_model(str(folder), device="cpu", dtype="float32")
        if recipe.network.encoder:
            _standardise(model, samples, recipe.seed)
            model.network.save_pretrained(folder)
    return model


def _standardise(model: Model, samples: Sequence[Sample], seed: int) -> None:
    """Give the outputs of the vision module mean 0 and spread 1 over some of its training pictures."""
    import torch

    from qinsight_cli.core.images import load_image
    from qinsight_cli.core.training.sft.heads import standardise

    rng = np.random.default_rng(seed)
    chosen = [samples[index] for index in rng.choice(len(samples), min(PICTURES, len(samples)), replace=False)]
    tower = model.network.model.visual

    def pictures() -> Iterator[Any]:
        for sample in chosen:
            image = load_image(next(iter(sample.images.values()))).image
            seen = model.processor.image_processor([image])
            _, height, width = np.asarray(seen["image_grid_thw"])[0].tolist()
            yield tower.assemble(torch.as_tensor(np.asarray(seen["pixel_values"])), height, width)

    standardise(tower, pictures())

"""The batches of an SFT phase: the plan of their rows, and their tensors.

The order of all batches is planned before the first step from the recipe's seed, so a run can be repeated and resumed.
A batch holds rows with the same number of pictures of the same resized size: only text needs padding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.tasks import TASKS
from qinsight_cli.core.tasks.degradation import CLASSES, NULL, SEVERITIES
from qinsight_cli.core.training.images import resized_sizes
from qinsight_cli.core.training.sft.answers import (
    IGNORED,
    digit_columns,
    draw_rating,
    gold_completion,
    names_its_damage,
    stated_zones,
    token_weights,
    unlearned_opening,
    with_image_tokens,
    with_other_damage,
)
from qinsight_cli.core.training.sft.cells import KeptCells, in_strips
from qinsight_cli.core.training.sft.recipe import Phase


def plan_batches(
    samples: Sequence[Sample], phase: Phase, processor: Any, seed: int, found: Mapping[Path, tuple[int, int]]
) -> list[list[int]]:
    """Row indices of the `phase.steps` batches of a phase. `found` has width and height of every picture.

    Each batch draws its group by the mix, then one bucket of equal shapes, then rows; rows of known damage are drawn so
    that classes, and severities within a class, are equally frequent. Clean is one class, `phase.clean_weight` times as
    frequent as another.
    """
    rng = np.random.default_rng(seed)
    groups = group_rows(samples, phase.mix)
    sizes = {} if phase.crop else _sizes(samples, groups, resized_sizes(found, processor.image_processor))
    buckets = {name: _buckets(samples, rows, sizes) for name, rows in groups.items()}
    names = list(groups)
    shares = np.array([phase.mix[name] for name in names], dtype=float)
    batches = []
    for _ in range(phase.steps):
        by_bucket: dict[Any, list[int]] = defaultdict(list)
        # One bucket per batch, with all groups that share it: a batch of only ratings would be a noisy step.
        first = names[rng.choice(len(names), p=shares / shares.sum())]
        key = _draw_key(buckets[first], rng)
        sharing = [name for name in names if key in buckets[name]]
        weight = np.array([phase.mix[name] * _share(buckets[name], key) for name in sharing])
        for _ in range(max(1, phase.batch // key[0])):
            name = sharing[rng.choice(len(sharing), p=weight / weight.sum())]
            by_bucket[key].append(_draw_row(buckets[name][key], phase.clean_weight, rng))
        batches.append(by_bucket[key])
    return batches


def group_rows(samples: Sequence[Sample], mix: Mapping[str, float]) -> dict[str, list[int]]:
    """Row indices of each `task` or `task/source` of a mix. Raises QInsightError for one that has no rows."""
    groups = {}
    for name in sorted(mix):  # the plan does not depend on the order in which a recipe names them
        task, _, source = name.partition("/")
        rows = [i for i, row in enumerate(samples) if row.task == task and source in ("", row.source)]
        if not rows:
            raise QInsightError(f"the recipe asks for {name} rows and the data has none")
        groups[name] = rows
    return groups


def _sizes(
    samples: Sequence[Sample], groups: Mapping[str, list[int]], resized: Mapping[Path, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """The resized size of the first picture of each row."""
    rows = {index: samples[index] for group in groups.values() for index in group}
    return {index: resized[row.images[TASKS[row.task].order(row.images)[0]]] for index, row in rows.items()}


def _buckets(samples: Sequence[Sample], rows: list[int], sizes: Mapping[int, tuple[int, int]]) -> dict[Any, Any]:
    """(pictures a row, resized size) -> {stratum: rows}; the strata are class and severity, where they are known."""
    buckets: dict[Any, Any] = defaultdict(lambda: defaultdict(list))
    for index in rows:
        sample = samples[index]
        buckets[len(sample.images), sizes.get(index)][_stratum(sample)].append(index)
    return buckets


def _stratum(sample: Sample) -> tuple[Any, Any]:
    """(class, severity). A score row of `synth` names its damage beside its rating, which follows the severity."""
    if "distortion" in sample.truth:
        return sample.truth["distortion"], sample.truth["severity"]
    damage = sample.extra.get("damage")
    return damage, sample.truth.get("rating") if damage else None


def _share(buckets: Mapping[Any, Any], key: Any) -> float:
    counts = {name: sum(map(len, strata.values())) for name, strata in buckets.items()}
    return counts[key] / sum(counts.values())


def _draw_key(buckets: Mapping[Any, Any], rng: np.random.Generator) -> Any:
    keys = list(buckets)
    return keys[rng.choice(len(keys), p=[_share(buckets, key) for key in keys])]


def _draw_row(strata: Mapping[Any, list[int]], clean_weight: float, rng: np.random.Generator) -> int:
    classes = sorted({str(stratum[0]) for stratum in strata})
    weights = np.array([clean_weight if name == NULL else 1.0 for name in classes])
    wanted = classes[rng.choice(len(classes), p=weights / weights.sum())]
    choices = [rows for stratum, rows in strata.items() if str(stratum[0]) == wanted]
    rows = choices[rng.integers(len(choices))]
    return rows[rng.integers(len(rows))]


@dataclass
class Collator:
    """[{"rows": indices, "seed": n}] -> tensors. One item is one planned batch, hence a list of one."""

    samples: Sequence[Sample]
    processor: Any
    phase: Phase
    token_weights: Mapping[str, float]
    rating_spread: float = 0.0
    kept: KeptCells | None = None

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        (item,) = items
        rng = np.random.default_rng(item["seed"])
        rows = [self.samples[index] for index in item["rows"]]
        seen, grids = self._kept(rows, rng) if self.kept else self._seen(rows, rng)
        return {**seen, **(self._labels(rows) if self.phase.kind == "see" else self._answers(rows, grids, rng))}

    def _kept(self, rows: list[Sample], rng: np.random.Generator) -> tuple[dict[str, Any], list[list[int]]]:
        """The image tensors of the rows, from the kept cells, and the number of image tokens of each picture."""
        import torch

        assert self.kept is not None
        merge = self.processor.image_processor.merge_size
        strips = self.phase.strips[rng.integers(len(self.phase.strips))]
        pictures = [[row.images[role] for role in TASKS[row.task].order(row.images)] for row in rows]
        cut = [[in_strips(self.kept.read(each), self.kept.grid(each), strips) for each in group] for group in pictures]
        grids = [[grid for _, grid in group] for group in cut]
        return {
            "pixel_values": torch.from_numpy(np.concatenate([cells for group in cut for cells, _ in group])),
            "image_grid_thw": torch.tensor(
                [(1, high * merge, wide * merge) for group in grids for high, wide in group]
            ),
        }, [[high * wide for high, wide in group] for group in grids]

    def _seen(self, rows: list[Sample], rng: np.random.Generator) -> tuple[dict[str, Any], list[list[int]]]:
        """As `_kept`, from the pictures themselves."""
        import torch

        window = self.phase.windows[rng.integers(len(self.phase.windows))]
        pictures = [self._pictures(row, window, rng) for row in rows]
        seen = self.processor.image_processor([each for group in pictures for each in group], do_resize=False)
        grids = torch.as_tensor(np.asarray(seen["image_grid_thw"]))
        merge = self.processor.image_processor.merge_size
        counts = iter((grids.prod(1) // merge**2).tolist())
        return {
            "pixel_values": torch.as_tensor(np.asarray(seen["pixel_values"])),
            "image_grid_thw": grids,
        }, [[next(counts) for _ in group] for group in pictures]

    def _pictures(self, row: Sample, window: tuple[float, float], rng: np.random.Generator) -> list[Image.Image]:
        """The pictures of a row, resized as in inference, then optionally cropped and mirrored, all in the same way."""
        roles = TASKS[row.task].order(row.images)
        images = [load_image(row.images[role]).image for role in roles]
        size = Target.of(self.processor.image_processor).size(*images[0].size)
        images = [image.resize(size, Image.Resampling.BICUBIC) for image in images]
        width, height = self._cut(size, window)
        if (width, height) != size:
            left, top = int(rng.integers(size[0] - width + 1)), int(rng.integers(size[1] - height + 1))
            images = [image.crop((left, top, left + width, top + height)) for image in images]
        if rng.random() < 0.5:
            images = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
        return images

    def _cut(self, size: tuple[int, int], window: tuple[float, float]) -> tuple[int, int]:
        """(width, height) of a resized picture -> (width, height) of its crop, in whole tokens."""
        if self.phase.crop:
            return min(self.phase.crop, size[0]), min(self.phase.crop, size[1])
        token = self.processor.image_processor.patch_size * self.processor.image_processor.merge_size
        width, height = (
            max(token, round(side * share / token) * token) for side, share in zip(size, window, strict=True)
        )
        return width, height

    def _labels(self, rows: list[Sample]) -> dict[str, Any]:
        import torch

        classes = [CLASSES.index(row.truth["distortion"]) if "distortion" in row.truth else IGNORED for row in rows]
        levels = [
            SEVERITIES.index(row.truth["severity"]) if row.truth.get("severity", NULL) != NULL else IGNORED
            for row in rows
        ]
        computed = [row.extra.get("pseudo_mos", float("nan")) for row in rows]
        ratings = [float("nan") if "pseudo_mos" in row.extra else row.truth.get("rating", float("nan")) for row in rows]
        return {
            "classes": torch.tensor(classes),
            "levels": torch.tensor(levels),
            "ratings": torch.tensor(ratings, dtype=torch.float32),
            "pseudo": torch.tensor(computed, dtype=torch.float32),
            "stated": torch.tensor([stated_zones(row.reasoning) for row in rows]),
        }

    def _answers(self, rows: list[Sample], counts: list[list[int]], rng: np.random.Generator) -> dict[str, Any]:
        """Prompt and completion, padded on the left; `weights` is 0 on the prompt, and the loss is on weights > 0.

        With a rating spread, `digit_places` (digits, 2) are rows and columns of rating digits, `digit_targets`
        (digits, 10) the probability of each digit there, and `digit_ids` (10,) the tokens of 0 to 9.
        """
        import torch

        tokenizer = self.processor.tokenizer
        prompts = [
            self.processor.apply_chat_template(
                TASKS[row.task].messages(TASKS[row.task].order(row.images)), add_generation_prompt=True, tokenize=False
            )
            for row in rows
        ]
        drawn = [self._drawn(row, rng) for row in rows]
        direct = rng.random(len(rows)) < self.phase.direct_share
        taught = [replace(row, reasoning="") if bare else row for row, bare in zip(rows, direct, strict=True)]
        led = rng.random(len(rows)) < self.phase.led_share
        led &= [names_its_damage(row) for row in taught]
        taught = [with_other_damage(row, rng) if other else row for row, other in zip(taught, led, strict=True)]
        completions = [
            gold_completion(row, rating) + "<|im_end|>" for row, (rating, _) in zip(taught, drawn, strict=True)
        ]
        # Not by the processor: it refuses image tokens without pictures, and kept cells have no pictures.
        batch = tokenizer(
            [
                with_image_tokens(prompt, self.processor.image_token, count) + completion
                for prompt, completion, count in zip(prompts, completions, counts, strict=True)
            ],
            return_tensors="pt",
            padding=True,
            pad_to_multiple_of=32,
        )
        batch["mm_token_type_ids"] = torch.tensor(self.processor.create_mm_token_type_ids(batch["input_ids"].tolist()))
        return {
            **batch,
            **self._weighed(rows, completions, direct | led, [soft for _, soft in drawn], batch["input_ids"].shape),
        }

    def _weighed(
        self,
        rows: list[Sample],
        completions: list[str],
        unlearned: Any,
        soft: list[Any],
        shape: tuple[int, int],
    ) -> dict[str, Any]:
        """The tensors of the loss: `weights` (rows, tokens), and the digits of ratings, as in `_answers`."""
        import torch

        tokenizer = self.processor.tokenizer
        weights = torch.zeros(shape, dtype=torch.float32)
        places, targets = [], []
        for index, completion in enumerate(completions):
            own = token_weights(completion, tokenizer, self.token_weights)
            if unlearned[index]:
                own = unlearned_opening(own, completion, tokenizer)
            weights[index, -len(own) :] = torch.tensor(own)
            if soft[index] is not None:
                digits = TASKS[rows[index].task].digits
                assert digits is not None
                columns = digit_columns(completion, tokenizer, digits)
                places += [[index, shape[1] + column] for column in columns]
                targets += list(soft[index])
        if not self.rating_spread:
            return {"weights": weights}
        return {
            "weights": weights,
            "digit_places": torch.tensor(places, dtype=torch.long).view(-1, 2),
            "digit_targets": torch.tensor(np.array(targets), dtype=torch.float32).view(-1, 10),
            "digit_ids": torch.tensor(tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])),
        }

    def _drawn(self, row: Sample, rng: np.random.Generator) -> tuple[float | None, Any]:
        """For a row whose answer is a number, with a rating spread: a rating drawn from its distribution, and the
        probabilities of its first digit and, after that digit, of its first decimal."""
        task = TASKS[row.task]
        if task.digits is None or not self.rating_spread:
            return None, None
        return draw_rating(row.truth[task.number], self.rating_spread, rng)

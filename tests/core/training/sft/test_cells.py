"""Kept cells stand for the pictures that they were computed from, and are computed once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qinsight_cli.core.data.manifest import Sample
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.models.conv_tower import ConvTower
from qinsight_cli.core.models.conv_trunk import STATISTICS
from qinsight_cli.core.models.loading import Model, load_model
from qinsight_cli.core.training.images import check_images
from qinsight_cli.core.training.sft import cells
from qinsight_cli.core.training.sft.batches import Collator
from qinsight_cli.core.training.sft.cells import KeptCells, in_strips, keep_cells
from qinsight_cli.core.training.sft.recipe import Phase, SftRecipe, check
from qinsight_cli.core.training.sft.run import freeze

MIX = {"score": 0.5, "degradation": 0.3, "comparison": 0.2}
TALK = Phase("talk", "talk", 2, 4, 1e-3, MIX, frozen_blocks=16, keep_cells=True)


@pytest.fixture
def model(random_conv_model: Path) -> Model:
    loaded = load_model(str(random_conv_model), "cpu", "float32")
    freeze(loaded.network.model.visual, 16)
    return loaded


def kept_cells(folder: Path, model: Model, rows: list[Sample]) -> KeptCells:
    pictures = list(dict.fromkeys(path for row in rows for path in row.images.values()))
    return keep_cells(folder, pictures, check_images(rows), model.network.model.visual, model.processor)


def test_cells_give_the_tokens_of_the_picture(model: Model, small_rows: list[Sample], tmp_path: Path) -> None:
    rows = small_rows[:12]
    kept = kept_cells(tmp_path / "cells", model, rows)
    tower = model.network.model.visual
    for path in {path for row in rows for path in row.images.values()}:
        # As inference does it: the processor resizes.
        seen = model.processor.image_processor([load_image(path).image])
        grid = torch.as_tensor(np.asarray(seen["image_grid_thw"]))
        assert tuple((grid[0, 1:] // 2).tolist()) == kept.grid(path)
        with torch.no_grad():
            expected = tower(torch.as_tensor(np.asarray(seen["pixel_values"])), grid).pooler_output
            found = tower(torch.from_numpy(kept.read(path)), grid).pooler_output
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)  # float16 on disk
        assert kept.read(path).shape == (len(expected), STATISTICS)


@pytest.mark.parametrize("kind", ["see", "talk"])
def test_a_batch_of_kept_cells_is_the_batch_of_pictures(
    model: Model, small_rows: list[Sample], tmp_path: Path, kind: Any
) -> None:
    names = ("score", "degradation", "comparison") if kind == "talk" else ("score", "degradation")
    rows = [next(row for row in small_rows if row.task == name) for name in names]
    kept = kept_cells(tmp_path / "cells", model, rows)
    phase = replace(TALK, kind=kind, mix=dict.fromkeys(names, 1.0))
    item = [{"rows": list(range(len(rows))), "seed": 4}]
    with_cells = Collator(rows, model.processor, phase, {"rating": 8.0}, kept=kept)(item)
    pictures = Collator(rows, model.processor, phase, {"rating": 8.0})(item)
    assert with_cells.keys() == pictures.keys()
    cell_count = int(pictures["image_grid_thw"].prod(1).sum()) // 4
    assert with_cells.pop("pixel_values").shape == (cell_count, STATISTICS)
    pictures.pop("pixel_values")
    for name, value in pictures.items():
        torch.testing.assert_close(with_cells[name], value, rtol=0, atol=0, equal_nan=True)


def test_what_is_computed_stays_and_the_rest_follows(
    model: Model, small_rows: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "BATCH", 2)
    monkeypatch.setattr(cells, "SAVE_EVERY", 1)
    rows, folder = small_rows[:10], tmp_path / "cells"
    whole = kept_cells(tmp_path / "whole", model, rows)
    original, computed, last = ConvTower.frozen_cells, [], [3]

    def counting(self: Any, pictures: torch.Tensor) -> torch.Tensor:
        if len(computed) == last[0]:
            raise KeyboardInterrupt
        computed.append(len(pictures))
        return original(self, pictures)

    monkeypatch.setattr(ConvTower, "frozen_cells", counting)
    with pytest.raises(KeyboardInterrupt):
        kept_cells(folder, model, rows)
    last[0] = 1_000
    kept = kept_cells(folder, model, rows)
    assert sum(computed) == len(whole.starts)
    np.testing.assert_array_equal(kept.values, whole.values)
    computed.clear()
    kept_cells(folder, model, rows)
    assert computed == []
    with torch.no_grad():
        model.network.model.visual.trunk.stem.conv.bias += 1
    changed = kept_cells(folder, model, rows)
    assert sum(computed) == len(whole.starts)
    assert not np.array_equal(changed.values, whole.values)
    assert json.loads((folder / "note.json").read_text())["batches"] == len(computed)


@pytest.mark.parametrize(
    ("strips", "expected"),
    [
        (1, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]),
        (2, [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]),  # the fifth row is left over
        (5, [list(range(15))]),
        (6, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]),  # more strips than rows
        (-3, [[cell] for column in range(3) for cell in range(column, 15, 3)]),
        (-2, [[0], [3], [6], [9], [12], [1], [4], [7], [10], [13]]),
    ],
)
def test_strips_side_by_side_or_one_below_the_other(strips: int, expected: list[list[int]]) -> None:
    values, grid = in_strips(np.arange(15.0)[:, None] + [0, 0.5], (5, 3), strips)
    assert grid == (len(expected), len(expected[0]))
    np.testing.assert_array_equal(values[:, 0].reshape(grid), expected)
    np.testing.assert_array_equal(values[:, 1] - values[:, 0], 0.5)


def test_strips_change_the_shape_of_a_batch_and_the_model_takes_it(
    model: Model, small_rows: list[Sample], tmp_path: Path
) -> None:
    rows = [row for row in small_rows if row.task == "comparison"][:2]
    kept = kept_cells(tmp_path / "cells", model, rows)
    item = [{"rows": [0, 1], "seed": 4}]
    batch = Collator(rows, model.processor, replace(TALK, strips=(2,)), {}, kept=kept)(item)
    high, wide = kept.grid(next(iter(rows[0].images.values())))
    assert {tuple(grid[1:]) for grid in batch["image_grid_thw"].tolist()} == {(high // 2 * 2, 2 * wide * 2)}
    assert (batch["input_ids"] == model.network.config.image_token_id).sum() == len(batch["pixel_values"])
    with torch.no_grad():
        inputs = {name: value for name, value in batch.items() if name != "weights"}
        assert model.network(**inputs).logits.isfinite().all()


def test_strips_need_kept_cells_and_a_number() -> None:
    for wrong, message in (({"keep_cells": False, "strips": (2,)}, "set keep_cells"), ({"strips": ()}, "is empty")):
        with pytest.raises(QInsightError, match=f"phase talk: strips .*{message}"):
            check(SftRecipe(model="tiny", seed=1, phases=(replace(TALK, **wrong),)))


def test_without_frozen_blocks_nothing_is_kept(model: Model, small_rows: list[Sample], tmp_path: Path) -> None:
    freeze(model.network.model.visual, 0)
    with pytest.raises(QInsightError, match="with frozen blocks"):
        kept_cells(tmp_path / "cells", model, small_rows[:2])


def test_cells_follow_from_the_frozen_blocks_alone(model: Model, small_rows: list[Sample], tmp_path: Path) -> None:
    """A phase that trains the later blocks and is killed goes on with the cells that it has."""
    tower, rows = model.network.model.visual, small_rows[:4]
    freeze(tower, 8)
    before = kept_cells(tmp_path / "cells", model, rows)
    written = (tmp_path / "cells" / "values.npy").stat().st_mtime_ns
    with torch.no_grad():
        tower.trunk.blocks[8].project.conv.weight += 1
    kept_cells(tmp_path / "cells", model, rows)
    assert (tmp_path / "cells" / "values.npy").stat().st_mtime_ns == written
    assert before.values.shape[1] == tower.frozen_width
    freeze(tower, 9)
    assert kept_cells(tmp_path / "cells", model, rows).values.shape[1] == tower.frozen_width != before.values.shape[1]


@pytest.mark.parametrize("cut", [{"crop": 64}, {"windows": ((0.5, 1.0),)}])
def test_kept_cells_are_those_of_whole_pictures(cut: dict[str, Any]) -> None:
    recipe = SftRecipe(model="tiny", seed=1, phases=(replace(TALK, **cut),))
    with pytest.raises(QInsightError, match="phase talk: keep_cells takes pictures whole"):
        check(recipe)

"""Packing without a network: which rows share a prompt, and which pictures go with which rows.

`test_trainer.py` compares the log-probabilities and gradients of packed rows with those of plain ones.
"""

from __future__ import annotations

import torch

from qinsight_cli.core.training.grpo.packing import Prompts, Rows

# Four rows: three prompts, of which the first and the second differ only in their pictures.
IDS = torch.tensor([[1, 2, 9, 9], [1, 2, 8, 0], [1, 2, 7, 7], [3, 4, 6, 0]])
PICTURES = (1, 1, 1, 2)
GRIDS = torch.tensor([[1, 1, 2], [1, 1, 2], [1, 1, 2], [1, 1, 1], [1, 2, 1]])
PIXELS = torch.tensor([5.0, 5.0, 5.0, 5.0, 6.0, 6.0, 7.0, 8.0, 8.0])[:, None]


def rows() -> Rows:
    return Rows(IDS, (IDS > 0).long(), 2, PIXELS, GRIDS, PICTURES)


def test_a_group_is_one_prompt_with_the_same_pictures() -> None:
    groups = rows().groups()
    assert [group.input_ids.tolist() for group in groups] == [IDS[:2].tolist(), IDS[2:3].tolist(), IDS[3:].tolist()]
    assert [group.pixels[:, 0].tolist() for group in groups] == [[5.0] * 4, [6.0] * 2, [7.0, 8.0, 8.0]]
    assert [group.pictures for group in groups] == [(1, 1), (1,), (2,)]


def test_equal_prompts_apart_from_each_other_are_two_groups() -> None:
    order = [0, 2, 1]
    pixels = PIXELS[[0, 1, 4, 5, 2, 3]]
    ids = IDS[order]
    apart = Rows(ids, (ids > 0).long(), 2, pixels, GRIDS[:3], (1, 1, 1))
    assert [len(group.input_ids) for group in apart.groups()] == [1, 1, 1]


def test_a_part_takes_its_own_pictures_along() -> None:
    part = rows().part(1, 4)
    assert part.mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]
    assert part.grids.tolist() == GRIDS[1:].tolist()
    assert part.pixels.tolist() == PIXELS[2:].tolist()
    assert part.pictures == (1, 1, 2)


def test_prompts_in_parts_are_the_same_prompts() -> None:
    prompts = Prompts(IDS[:, :2].tolist(), PIXELS, GRIDS, PICTURES, copies=3)
    parts = list(prompts.parts(3))
    assert [part.ids for part in parts] == [[[1, 2]] * 3, [[3, 4]]]
    assert [part.pictures for part in parts] == [(1, 1, 1), (2,)]
    assert torch.equal(torch.cat([part.pixels for part in parts]), PIXELS)
    assert torch.equal(torch.cat([part.grids for part in parts]), GRIDS)
    assert {part.copies for part in parts} == {3}

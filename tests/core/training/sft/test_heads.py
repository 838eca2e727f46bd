"""The direct heads: their loss against numpy, soft levels, and the standardised start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qinsight_cli.core.models.loading import load_model
from qinsight_cli.core.training.sft.answers import IGNORED
from qinsight_cli.core.training.sft.heads import (
    OUTPUTS,
    SeeingTower,
    seeing_loss,
    soft_levels,
    split_outputs,
    standardise,
)

NAN = float("nan")


def random_output(rows: int) -> torch.Tensor:
    return torch.randn(rows, sum(OUTPUTS), generator=torch.Generator().manual_seed(0))


def log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values - np.log(np.exp(values).sum())


def test_a_level_shares_with_its_neighbours() -> None:
    middle, edge = soft_levels(torch.tensor([2, 0]))
    total = 1 + 2 * 0.075
    np.testing.assert_allclose(middle, [0, 0.075 / total, 1 / total, 0.075 / total, 0], atol=1e-7)
    total = 1 + 0.075
    np.testing.assert_allclose(edge, [1 / total, 0.075 / total, 0, 0, 0], atol=1e-7)


def test_the_loss_by_hand() -> None:
    """Eight rows: of class and level, of class alone, of a rating alone, of a pseudo-MOS; two with statements."""
    output = random_output(8)
    classes = torch.tensor([2, 4, IGNORED, 0, IGNORED, IGNORED, IGNORED, IGNORED])
    levels = torch.tensor([4, IGNORED, IGNORED, 1, IGNORED, IGNORED, IGNORED, IGNORED])
    ratings = torch.tensor([2.5, NAN, 4.0, 1.2, 3.3, 4.9, 1.0, NAN])
    pseudo = torch.tensor([NAN, 4.1, NAN, NAN, NAN, NAN, NAN, 2.0])
    stated = torch.full((8, 4), IGNORED)
    stated[2], stated[5, 3] = torch.tensor([0, 4, 2, 1]), 3
    values = output.double().numpy()
    by_class = -np.mean([log_softmax(values[row, :5])[kind] for row, kind in ((0, 2), (1, 4), (3, 0))])
    of_first = log_softmax(values[0, 5 + 2 * 5 : 5 + 3 * 5])  # levels under the true class
    of_fourth = log_softmax(values[3, 5:10])
    by_level = -np.mean(
        [
            (of_first[4] + 0.075 * of_first[3]) / 1.075,
            (of_fourth[1] + 0.075 * (of_fourth[0] + of_fourth[2])) / 1.15,
        ]
    )
    rated = [0, 2, 3, 4, 5, 6]
    predicted, truth = values[rated, 30] + 3.0, ratings[rated].double().numpy()
    squared = np.mean((predicted - truth) ** 2)
    correlation = np.corrcoef(predicted, truth)[0, 1]
    of_pseudo = np.mean([(values[1, 30] + 3 - 4.1) ** 2, (values[7, 30] + 3 - 2.0) ** 2])
    places = [(2, 0, 0), (2, 1, 4), (2, 2, 2), (2, 3, 1), (5, 3, 3)]  # row, measure, zone
    said = -np.mean([log_softmax(values[row, 31 + 5 * which : 36 + 5 * which])[zone] for row, which, zone in places])
    expected = by_class + 0.7 * by_level + squared + 0.5 * (1 - correlation) + 0.25 * of_pseudo + 0.3 * said
    assert seeing_loss(output, classes, levels, ratings, pseudo, stated).item() == pytest.approx(expected, rel=1e-5)


def test_few_ratings_have_no_correlation() -> None:
    output = random_output(3)
    nothing = torch.full((3,), IGNORED)
    found = seeing_loss(
        output, nothing, nothing, torch.tensor([NAN, 4.0, 2.0]), torch.full((3,), NAN), torch.full((3, 4), IGNORED)
    ).item()
    assert found == pytest.approx(((output[1, 30] - 1) ** 2 + (output[2, 30] + 1) ** 2).item() / 2, rel=1e-5)


def test_rows_that_know_nothing_cost_nothing_and_have_a_gradient() -> None:
    output = random_output(2).requires_grad_()
    nothing = torch.full((2,), IGNORED)
    loss = seeing_loss(
        output, nothing, nothing, torch.full((2,), NAN), torch.full((2,), NAN), torch.full((2, 4), IGNORED)
    )
    loss.backward()
    assert loss.item() == 0.0
    assert output.grad is not None
    assert not output.grad.any()


def test_outputs_are_split_into_classes_levels_rating_and_statements() -> None:
    output = torch.arange(51.0).view(1, 51)
    by_class, by_level, rating, stated = split_outputs(output)
    assert by_class.tolist() == [[0, 1, 2, 3, 4]]
    assert by_level[0, 2].tolist() == [15, 16, 17, 18, 19]
    assert rating.tolist() == [33.0]
    assert stated[0, 1].tolist() == [36, 37, 38, 39, 40]


def test_standardised_statistics_have_mean_0_and_spread_1(random_conv_model: Path) -> None:
    tower = load_model(str(random_conv_model), "cpu", "float32").network.model.visual
    generator = torch.Generator().manual_seed(4)
    batches = [torch.rand(3, 3, 64, 96, generator=generator) * 2 - 1 for _ in range(3)]
    with torch.no_grad():
        raw = torch.cat([tower.statistics(batch).flatten(0, 1) for batch in batches]).double().numpy()
    assert abs(raw.mean(0)).max() > 0.1  # else there would be nothing to do
    standardise(tower, iter(batches))
    center, scale = (value.detach().double().numpy() for value in (tower.center, tower.scale))
    found = (raw - center) * scale
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    spread = raw.std(0, ddof=1)
    # What hardly varies is not blown up: 0.05 is added to each spread.
    np.testing.assert_allclose(found.std(0, ddof=1), spread / (spread + 0.05), atol=1e-4)
    assert (found.std(0, ddof=1)[spread > 1] > 0.95).all()


def test_both_sets_of_heads_read_the_mean_of_the_tokens(random_conv_model: Path) -> None:
    tower = load_model(str(random_conv_model), "cpu", "float32").network.model.visual
    seeing = SeeingTower(tower, tower.config.out_hidden_size).eval()
    patches = torch.rand(2 * 24, 3 * 2 * 16 * 16, generator=torch.Generator().manual_seed(5))
    grids = torch.tensor([[1, 4, 6], [1, 6, 4]])  # of one area
    with torch.no_grad():
        linear, hidden = seeing.outputs(patches, grids)
        tokens = tower(patches, grids).pooler_output
        for row in (0, 1):
            mean = tokens[6 * row : 6 * (row + 1)].mean(0)
            torch.testing.assert_close(linear[row], seeing.linear_heads(mean), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(hidden[row], seeing.hidden_heads(mean), rtol=1e-4, atol=1e-5)
        labels = (
            torch.tensor([1, 2]),
            torch.tensor([0, 3]),
            torch.tensor([2.0, NAN]),
            torch.tensor([NAN, 3.0]),
            torch.tensor([[0, 1, 2, 3], [4, IGNORED, 0, 0]]),
        )
        loss = seeing(patches, grids, *labels)["loss"]
        expected = (seeing_loss(linear, *labels) + seeing_loss(hidden, *labels)) / 2
    assert loss.item() == pytest.approx(expected.item())

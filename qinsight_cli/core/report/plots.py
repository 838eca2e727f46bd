"""Plots as PNG, SVG and PDF: predictions against MOS, a radar, confusion matrices, accuracy per pair of methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
BLUE, RED = "#1f6fb2", "#c0392b"
# Distinct in print and for colour-blind readers (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class Cloud:
    """One panel of a scatter plot. `curve` is the fitted function from predictions to labels, if there is a fit."""

    title: str
    predicted: Sequence[float]
    truth: Sequence[float]
    curve: Any = None


def new_figure(width: float, height: float) -> Figure:
    """A figure that does not need a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, SVG and PDF. The same figure gives the same bytes."""
    from matplotlib import rc_context

    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    with rc_context({"svg.hashsalt": "qinsight", "pdf.fonttype": 42}):  # 42: text that can be edited and searched
        figure.savefig(path.with_suffix(".svg"), dpi=DPI, metadata={"Date": None})
        figure.savefig(path.with_suffix(".pdf"), dpi=DPI, metadata={"CreationDate": None})


def scatter(clouds: Sequence[Cloud], title: str, path: Path) -> None:
    """A panel for each cloud: predictions on the x axis, MOS in [1, 5] on the y axis, and the fitted curve."""
    across = min(4, len(clouds))
    down = math.ceil(len(clouds) / across)
    figure = new_figure(max(4.2, 3.1 * across), 3.2 * down + 0.4)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, cloud in zip(panels, clouds, strict=False):
        _cloud(panel, cloud)
    for panel in panels[len(clouds) :]:
        panel.set_visible(False)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def _cloud(panel: Axes, cloud: Cloud) -> None:
    many = len(cloud.predicted) > 1000
    panel.scatter(
        cloud.predicted,
        cloud.truth,
        s=5 if many else 10,
        alpha=0.25 if many else 0.5,
        lw=0,
        color=BLUE,
        rasterized=many,  # thousands of shapes make an SVG or PDF megabytes large
    )
    if cloud.curve is not None:
        line = np.linspace(min(cloud.predicted), max(cloud.predicted), 200)
        panel.plot(line, cloud.curve(line), color=RED, lw=1.5, label="logistic fit")
        panel.legend(fontsize=7, loc="lower right", frameon=False)
    panel.set_title(cloud.title, fontsize=9)
    panel.set_xlabel("prediction", fontsize=8)
    panel.set_ylabel("MOS", fontsize=8)
    panel.set_ylim(0.9, 5.1)
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.25, lw=0.5)


def radar(
    axes: Sequence[str],
    published: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[float | None]],
    path: Path,
) -> None:
    """Figure 1: PLCC over the datasets. Published systems are thin lines, measured ones thick, with gaps for missing
    figures.

    As in the paper each axis runs from its own lowest to its own highest figure, which its label shows. No axis starts
    below 0: a negative correlation is at the centre, and a line below the plot says so.
    """
    angles = np.linspace(0, 2 * np.pi, len(axes), endpoint=False)
    rows = [*published.values(), *measured.values()]
    ends = [_ends([row[i] for row in rows]) for i in range(len(axes))]
    figure = new_figure(7.4, 5.6)
    panel: Any = figure.add_subplot(projection="polar")
    panel.set_theta_offset(np.pi / 2)
    panel.set_theta_direction(-1)
    for place, (name, row) in enumerate(published.items()):
        heights = [_share(value, end) for value, end in zip(row, ends, strict=True)]
        panel.plot(_closed(angles), _closed(heights), lw=1.0, color=COLOURS[place % len(COLOURS)], label=name)
    for place, (name, gaps) in enumerate(measured.items()):
        shares = [_share(value, end) for value, end in zip(gaps, ends, strict=True)]
        colour = COLOURS[(len(published) + place) % len(COLOURS)]
        panel.plot(_closed(angles), _closed(shares), lw=2.6, marker="o", ms=5, color=colour, label=f"{name} (here)")
    panel.set_xticks(angles, [f"{a}\n{low:.2f} – {high:.2f}" for a, (low, high) in zip(axes, ends, strict=True)])
    panel.tick_params(axis="x", labelsize=8, pad=18)
    panel.set_ylim(0, 1)
    panel.set_yticks([0.25, 0.5, 0.75, 1.0], [])
    panel.grid(alpha=0.3, lw=0.6)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle("PLCC on the datasets of Table 1, published and measured here", fontsize=11)
    negative = [name for name, row in {**published, **measured}.items() if any(v is not None and v < 0 for v in row)]
    if negative:
        words = f"At the centre, because negative: some figures of {', '.join(negative)}"
        figure.supxlabel(words, fontsize=8)
    save(figure, path)


def _ends(values: Sequence[float | None]) -> tuple[float, float]:
    """The ends of an axis: never below 0, nor over 1, which no correlation passes."""
    there = [max(0.0, value) for value in values if value is not None] or [0.0]
    low, high = min(there), max(there)
    room = 0.1 * (high - low) or 0.05
    return max(0.0, low - room), max(high, min(1.0, high + room))


def _share(value: float | None, ends: tuple[float, float]) -> float:
    return math.nan if value is None else max(0.0, (value - ends[0]) / (ends[1] - ends[0]))


def _closed(values: Any) -> list[float]:
    return [*values, values[0]]


def confusion(counts: NDArray[np.int64], rows: Sequence[str], columns: Sequence[str], title: str, path: Path) -> None:
    """Counts of true classes (rows) against predicted ones (columns), coloured by the share of the row."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    named = [f"{row} ({total})" for row, total in zip(rows, totals[:, 0], strict=True)]
    figure = new_figure(0.85 * len(columns) + 1.8, 0.7 * len(rows) + 1.6)
    panel = figure.subplots()
    _heat(panel, shares, [[f"{c}\n{s:.0%}" if c else "" for c, s in zip(*pair, strict=True)]
                          for pair in zip(counts, shares, strict=True)], "Blues")  # fmt: skip
    _label(panel, named, columns, "truth", "prediction")
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def method_pairs(
    methods: Sequence[str], found: Mapping[tuple[str, str], tuple[float, int]], title: str, path: Path
) -> None:
    """Accuracy of each pair of methods, {two names in alphabetical order: (points, pairs)}, as a lower triangle."""
    size = len(methods) - 1
    shares = np.full((size, size), np.nan)
    words = [[""] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            first, second = sorted((methods[row + 1], methods[column]))
            points, count = found.get((first, second), (0.0, 0))
            if count:
                shares[row, column] = points / count
                words[row][column] = f"{100 * points / count:.0f}"
    figure = new_figure(0.55 * size + 2.8, 0.5 * size + 2.4)
    panel = figure.subplots()
    picture = _heat(panel, shares, words, "RdYlGn")
    _label(panel, methods[1:], methods[:-1], "", "")
    bar = figure.colorbar(picture, ax=panel, shrink=0.8)
    bar.set_label("accuracy", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def _heat(panel: Axes, shares: NDArray[np.float64], words: Sequence[Sequence[str]], colours: str) -> Any:
    picture = panel.imshow(shares, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
    for row, line in enumerate(words):
        for column, text in enumerate(line):
            share = shares[row, column]
            dark = share > 0.6 if colours == "Blues" else abs(share - 0.5) > 0.38
            panel.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    return picture


def _label(panel: Axes, rows: Sequence[str], columns: Sequence[str], down: str, across: str) -> None:
    panel.set_yticks(range(len(rows)), rows, fontsize=8)
    panel.set_xticks(range(len(columns)), columns, fontsize=8, rotation=35, ha="right")
    panel.set_ylabel(down, fontsize=9)
    panel.set_xlabel(across, fontsize=9)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)

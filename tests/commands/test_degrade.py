"""qinsight degrade: what differs from score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from qinsight_cli.core.data.manifest import Sample, write_dataset


def test_csv_names_distortion_and_severity(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("degrade", "photos", "missing.jpg", "--csv", "out.csv")
    assert done.code == 3
    header, *lines = Path("out.csv").read_text().splitlines()
    assert header == "path,distortion,severity,verdict,reasoning,error"
    found = [line.split(",")[1:3] for line in lines]
    # PixelEngine calls a picture dark whose mean is below a quarter of 255.
    assert found == [["darken", "serious"] if 40 * i < 63 else ["none", "none"] for i in range(7)] + [["", ""]]
    assert lines[-1] == "missing.jpg,,,,,no such file"


def test_direct_gives_probabilities(photos: list[str], run: Any, pixel_model: Any) -> None:
    header, *lines = run("degrade", *photos[:3], "missing.jpg", "--mode", "direct", "--csv", "-").out.splitlines()
    assert header == "path,distortion,severity,probability,severity_probability,verdict,reasoning,error"
    assert [line.split(",")[1:5] for line in lines] == [
        ["darken", "serious", "1.000", "1.000"],
        ["darken", "serious", "1.000", "1.000"],
        ["none", "none", "1.000", "1.000"],
        [""] * 4,
    ]


def test_the_table_colours_what_is_bad(photos: list[str], run: Any, pixel_model: Any) -> None:
    done = run("degrade", "photos")
    assert done.code == 0
    assert done.out.count("darken") == 2
    assert "serious" in done.out


def test_nonsense_is_a_row_with_an_error(photos: list[str], random_model: Path, run: Any) -> None:
    done = run("degrade", *photos[:3], "--model", random_model, "--max-new-tokens", 5, "--csv", "-")
    assert done.code == 3
    assert all(row["error"] and not row["distortion"] for row in done.rows())


def test_the_embedded_model_answers(tmp_path: Path, run: Callable[..., Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    done = run("degrade", tmp_path / "noise.png", "--csv", "-")
    assert done.code == 0, done.out
    (row,) = done.rows()
    assert row["error"] == ""
    assert (row["distortion"] == "none") == (row["severity"] == "none")


@pytest.mark.usefixtures("pixel_model")
def test_what_it_writes_is_read_back_as_predictions(photos: list[str], run: Callable[..., Any]) -> None:
    truths = ["darken"] * 2 + ["null"] * 4 + ["blur"]
    rows = [
        Sample(
            *(str(i), "degradation", "test", "x", {"image": Path(photo).resolve()}),
            {"distortion": truth, "severity": "null" if truth == "null" else "serious"},
        )
        for i, (photo, truth) in enumerate(zip(photos, truths, strict=True))
    ]
    write_dataset(Path("set"), rows, {"name": "set"})
    assert run("degrade", "photos", "--csv", "said.csv").code == 0
    done = run("bench", "table2", "--data", "set", "--predictions", "p=said.csv", "--out", "out", "--bootstrap", 0)
    assert done.code == 0, done.err
    table = pd.read_csv("out/table2-long.csv")
    found = table[table.method == "p on set"].set_index(["metric", "column"])["value"].to_dict()
    # The blurred picture is called clean.
    assert {name: found["Deg. Acc.", name] for name in ("Darken", "Null", "Blur")} == {
        "Darken": 1.0,
        "Null": 1.0,
        "Blur": 0.0,
    }
    assert np.isnan(found["Deg. Acc.", "Average"])  # two classes are missing
    assert (
        pd.read_csv("out/predictions/p-set-degradation.csv").distortion.tolist()
        == pd.read_csv("said.csv").distortion.tolist()
    )

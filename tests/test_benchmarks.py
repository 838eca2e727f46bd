"""Programs of benchmarks/, run small: each prints a table and one JSON line, and what it counts adds up."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import gpu_throughput
import numpy as np
import pytest
from PIL import Image

import chat_server
from pixel_engine import PixelEngine

Printed = Callable[..., dict[str, Any]]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Printed:
    """Runs a program in this process and gives its JSON line, the last that it prints."""

    def run(name: str, *arguments: object) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, arguments)])
        import_module(name).main()
        *table, last = capfd.readouterr().out.strip().splitlines()
        assert len(table) >= 2, "a table comes first"
        found = json.loads(last)
        assert found["benchmark"] == name
        return found

    return run


def test_fleet_simulation(printed: Printed) -> None:
    cases = printed("fleet_simulation", "--pictures", 10_000_000, "--mtbf", 24)["cases"]
    ideal = 10_000_000 / (64 * 15)
    assert 1.0 < cases["no failures"]["seconds"] / ideal < 1.1
    assert cases["no failures"]["wasted"] == 0
    assert all(each["wasted"] < 0.01 for each in cases.values())
    assert cases["spot machines"]["failures"] > 5 * cases["as expected"]["failures"]
    assert cases["spot machines"]["seconds"] > cases["as expected"]["seconds"] > cases["no failures"]["seconds"]


def test_startup(printed: Printed) -> None:
    """What it measures is the benchmark's to say; that help loads no command is tested in test_cli.py."""
    (row,) = printed("startup", "--repeats", 1, "--only", "help")["rows"]
    assert row["what"] == "qinsight --help"
    # A process that starts Python takes longer than a hundredth of a second, and less than a minute.
    # A process that starts Python takes longer than a hundredth of a second, and less than a minute.
    assert 0.01 < row["seconds"] < 60
    assert 0.01 < row["other"] < 60


def test_samples(printed: Printed, random_model: Path) -> None:
    found = printed("samples", "--model", random_model, "--samples", 3, "--tokens", 4, "--repeats", 1)
    shared, separate = found["rows"]
    assert [shared["against"], separate["against"]] == ["1 sample", "3 samples"]
    assert shared["seconds"] > 0 < shared["other"]
    assert separate["other"] == shared["seconds"]


@pytest.fixture
def made(tmp_path: Path) -> list[Path]:
    """Three pictures of mixed sizes, of which two are alike in size."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, (width, height) in zip(paths, ((160, 120), (160, 120), (96, 200)), strict=True):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(path)
    return paths


def test_throughput(printed: Printed, made: list[Path]) -> None:
    """Both sides write the same, letter by letter, for pictures that share a batch as for one alone."""
    found = printed("throughput", *made[1:], "--threads", 1)
    assert found["same_answers"] == found["pictures"] == 2
    ours, theirs = found["rows"]
    assert theirs["times as fast"] == 1.0
    assert ours["images/s"] / theirs["images/s"] == pytest.approx(ours["times as fast"])


def test_sorted_batches(printed: Printed, random_model: Path, tmp_path: Path) -> None:
    """A token is 32 x 32 pixels: pictures of four tokens and of six, by turns, need padding until they are sorted."""
    for number, size in enumerate(((64, 64), (96, 64)) * 2):
        Image.new("RGB", size, (60 * number,) * 3).save(tmp_path / f"{number}.png")
    arguments = ("--model", random_model, "--tokens", 2, "--batch-size", 2, "--repeats", 1)
    given, alike = printed("sorted_batches", *sorted(tmp_path.glob("*.png")), *arguments)["rows"]
    assert alike["padded"] == 0
    # Both batches hold a prompt of n tokens and one of n - 2: 4 in 4 n are padding.
    longer = 1 / given["padded"]
    assert longer == pytest.approx(round(longer))
    assert longer > 6
    assert alike["ratio"] == pytest.approx(alike["processor ms/picture"] / given["processor ms/picture"])


def test_large_photos(printed: Printed) -> None:
    found = printed("large_photos", "--count", 2, "--pixels", 600_000, "--rounds", 1)
    run, decoding, model = (row["seconds"] for row in found["rows"])
    assert found["ratio"] == pytest.approx(run / max(decoding, model))
    assert found["draft"]["largest"] >= found["draft"]["mean"] > 0


def test_many(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a served model, so that no process loads one."""
    from measuring import qinsight

    with chat_server.serving(PixelEngine()) as (url, seen):
        monkeypatch.setattr("many.qinsight", lambda *words: qinsight(*words, "--endpoint", url, "--rating", "answer"))
        found = printed("many", "--few", 3, "--many", 6)
    assert seen.number == 1 + 3 + 6
    few, many = found["rows"]
    assert (few["pictures"], many["pictures"]) == (3, 6)
    assert many["ms/picture"] == pytest.approx(1000 * (many["processor s"] - found["start_s"]) / 5)
    assert found["more_mb"] == pytest.approx(many["peak MB"] - few["peak MB"])


def test_synth_workers(printed: Printed, made: list[Path]) -> None:
    """Any number of workers makes the same pictures: the program checks that."""
    found = printed("synth_workers", made[0].parent, "--per-photo", 2, "--repeats", 1)
    assert [row["workers"] for row in found["rows"]] == [1, 2]
    assert found["same_pictures"] is True


def test_gpu_throughput(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The roofline of a device that computes in no time is that of its bytes: the decoder's weights, once for each of
    the three tokens after the first, and the keys and values of every picture."""
    bandwidth = 1e9
    monkeypatch.setattr("gpu_throughput.device_limits", lambda device, dtype: (1e30, bandwidth, "given"))
    networks: list[Any] = []
    make = gpu_throughput._network
    monkeypatch.setattr("gpu_throughput._network", lambda *given: networks.append(make(*given)) or networks[0])
    arguments = ("--shape", "small", "--device", "cpu", "--batches", "1,3", "--sizes", "112x84", "--tokens", 4)
    found = printed("gpu_throughput", *arguments, "--repeats", 1)
    one, three = found["rows"]
    assert [one["batch"], three["batch"]] == [1, 3]
    assert one["prompt"] == three["prompt"] > 4 * 3  # 4 x 3 tokens of 28 x 28 pixels, and words
    assert three["share"] == pytest.approx(three["images/s"] / three["roofline/s"])
    network = networks[0][0]
    config = network.config.text_config
    matrices = [weight.numel() for weight in network.model.language_model.layers.parameters() if weight.ndim == 2]
    weights = sum(matrices) + config.hidden_size * config.vocab_size
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    for row in (one, three):
        numbers = weights + row["batch"] * kept * (row["prompt"] + 4 / 2)
        seconds = 3 * 4 * numbers / bandwidth  # in float32
        assert row["roofline/s"] == pytest.approx(row["batch"] / seconds)


def test_limits_measured_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of two matrices of 512 x 512 in half a second, a copy of 4 MiB, read and written, in a quarter."""
    import torch
    from roofline import device_limits

    seconds = iter((0.5, 0.25))

    def timed(work: Callable[[], None], repeats: int) -> float:
        work()
        return next(seconds)

    monkeypatch.setattr("roofline.least_seconds", timed)
    found = device_limits(torch.device("cpu"), torch.float32)
    assert found == (2 * 512**3 / 0.5, 2 * 4 * 2**20 / 0.25, "measured here")


def test_roofline_of_the_7b_model() -> None:
    """By hand for 1024 x 768: 37 x 27 tokens of four patches; 6.53 billion weights in the layers."""
    from roofline import KNOWN, Shape

    shape = Shape(32, 1280, 3420, 4, 64, 3584, 28, 28, 4, 18944, 152064)
    assert shape.layer_weights == 28 * (2 * 3584 * (3584 + 512) + 3 * 3584 * 18944)
    assert shape.cache_bytes == 57_344
    assert shape.seeing(3996) == pytest.approx(5.5e12, rel=0.01)
    assert 150 * shape.step(1, 1254)[0] == pytest.approx(2.2e12, rel=0.01)
    # One picture alone: 150 times the weights at 3.35 TB/s is 0.63 s, and the prompt a few hundredths.
    assert 1 / shape.seconds(1, 3996, 1179, 150, *KNOWN["H100"]) == pytest.approx(1.5, abs=0.05)
    assert 256 / shape.seconds(256, 3996, 1179, 150, *KNOWN["H100"]) == pytest.approx(37, abs=1)

"""The Python API, from pictures of every kind to answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixel_engine
import qinsight_cli
from qinsight_cli import QInsight, QInsightError

DOCS = Path(__file__).parents[2] / "docs"


def bright(i: int) -> float:
    return pytest.approx(round(1 + 4 * 60 * i / 255, 2), abs=1e-9)  # type: ignore[return-value]


def test_one_picture_a_list_and_a_folder(folder: Path, engines: list[Any]) -> None:
    q = QInsight("tiny")
    assert engines == [], "a model is loaded when it is first asked"
    one = q.score("photos/2.png")
    assert (one.path, one.rating, one.samples, one.error) == ("photos/2.png", bright(2), 1, None)
    assert "Brightness" in one.reasoning
    assert [a.rating for a in q.score([folder / "3.png", "photos/0.png"])] == [bright(3), bright(0)]
    answers = q.score("photos")
    assert [answer.path for answer in answers] == [f"photos/{i}.png" for i in range(4)]
    table = answers.to_pandas()
    assert list(table["rating"]) == [bright(i) for i in range(4)]
    assert {"path", "rating", "rating_std", "samples", "verdict", "reasoning", "error"} <= set(table.columns)
    assert [a.rating for a in q.score(each for each in ("photos/1.png",))] == [bright(1)]
    assert len(engines) == 1


def test_pictures_in_memory(folder: Path, engines: list[Any]) -> None:
    import torch

    q = QInsight()
    grey = np.full((16, 20), 120, np.uint8)
    kinds = {
        "PIL": Image.new("RGB", (9, 9), (120,) * 3),
        "grey": grey,
        "one channel": grey[..., None],
        "RGB": np.dstack([grey] * 3),
        "RGBA": np.dstack([grey] * 3 + [np.full_like(grey, 255)]),
        "floats": np.dstack([grey] * 3) / 255,
        "16 bits": grey.astype(np.uint16) * 257,
        "tensor": torch.from_numpy(np.dstack([grey] * 3)),
        "palette": Image.new("RGB", (9, 9), (120,) * 3).quantize(4),
    }
    for name, picture in kinds.items():
        assert q.score(picture).rating == bright(2), name
    assert q.score(np.zeros((8, 8), bool)).rating == bright(0)
    assert [answer.path for answer in q.score([grey, "photos/1.png", grey])] == [
        "picture 0",
        "photos/1.png",
        "picture 1",
    ]


def test_a_conversation_here_and_at_a_server(folder: Path, engines: list[Any], photo: Any) -> None:
    """The same words come back, and a server gets the pictures at the size that the messages ask for."""
    import base64
    import io

    import chat_server

    Image.fromarray(photo).save("photo.png")
    picture = {"type": "image", "image": "photo.png", "max_pixels": 30_000}
    messages = [
        {"role": "system", "content": "You judge pictures."},
        {"role": "user", "content": [picture, {"type": "text", "text": "Rate it."}]},
    ]
    said = QInsight().ask(messages)
    with chat_server.serving(pixel_engine.PixelEngine()) as (url, seen):
        served = QInsight("tiny", endpoint=url)
        assert served.ask(messages) == said
        seen.fail = lambda number, body: chat_server.status(400, "no")
        with pytest.raises(QInsightError, match="no"):
            served.ask(messages)
    (address, *_) = chat_server.addresses(seen.bodies[-1])
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as sent:
        assert sent.width % 28 == sent.height % 28 == 0
        assert sent.width * sent.height <= 30_000
        assert f"Brightness [{pixel_engine.rating_of(sent)}]" in said
    with chat_server.serving(pixel_engine.PixelEngine()) as (url, seen):
        QInsight("tiny", endpoint=url, max_pixels=5_000).ask(messages)
    (address,) = chat_server.addresses(seen.bodies[-1])
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as sent:
        assert 4_500 < sent.width * sent.height <= 5_000
    with pytest.raises(QInsightError, match="an address, not a file"):
        QInsight().ask([{"role": "user", "content": [{"image": "https://example.org/a.jpg"}]}])


def test_a_pil_image_is_what_its_file_is(tmp_path: Path, engines: list[Any], photo: Any) -> None:
    picture = Image.fromarray(photo).convert("CMYK")
    exif = picture.getexif()
    exif[0x0112] = 6
    seen: list[tuple[int, int]] = []
    q = QInsight()
    # Compressed, since Pillow 13 turns an uncompressed CMYK TIFF that is a file on disk wrongly.
    for name, image, more in (("a.jpg", Image.fromarray(photo), {}), ("b.tif", picture, {"compression": "tiff_lzw"})):
        image.save(tmp_path / name, exif=exif, **more)
        assert q.score(Image.open(tmp_path / name)).rating == q.score(tmp_path / name).rating
    prepare = engines[0].prepare
    engines[0].prepare = lambda requests: seen.extend(r.images[0].size for r in requests) or prepare(requests)
    q.score([tmp_path / "a.jpg", Image.open(tmp_path / "b.tif")])
    assert seen == [(300, 451), (300, 451)], "upright, as the orientation says"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
        (np.full((8, 8, 3), 1.5), r"\[0, 1\]"),
        (np.full((8, 8, 3), np.nan), r"\[0, 1\]"),
        (np.zeros((8, 8, 3), np.int64), "int64"),
        (np.zeros((0, 8, 3), np.uint8), "shape"),
        (7, "int"),
    ],
)
def test_what_is_no_picture(wrong: Any, words: str, engines: list[Any]) -> None:
    with pytest.raises(QInsightError, match=words):
        QInsight().score(wrong)


def test_errors_are_answers(folder: Path, engines: list[Any]) -> None:
    Path("broken.png").write_bytes(b"no picture")
    answers = QInsight().score(["photos/1.png", "missing.png", "broken.png"])
    assert [answer.rating for answer in answers] == [bright(1), None, None]
    assert answers[1].error == "no such file"
    assert [answer.path for answer in answers.errors] == ["missing.png", "broken.png"]
    assert answers[0].checked() is answers[0]
    with pytest.raises(QInsightError, match="no such file"):
        answers[1].checked()


def test_degrade_and_compare(folder: Path, engines: list[Any]) -> None:
    q = QInsight()
    dark, light = q.degrade(["photos/0.png", "photos/3.png"])
    assert (dark.distortion, dark.severity) == ("darken", "serious")
    assert (light.distortion, light.severity) == ("none", "none")
    one = q.compare("photos/1.png", np.zeros((8, 8), np.uint8))
    assert (one.winner, one.image_a, one.image_b, one.reference) == ("Image A", "photos/1.png", "picture 0", None)
    both = q.compare(["photos/1.png", "photos/2.png"], ["photos/2.png", "photos/1.png"], ["photos/3.png"] * 2)
    assert [answer.winner for answer in both] == ["Image B", "Image A"]
    assert both[0].reference == "photos/3.png"
    with pytest.raises(QInsightError, match="2 of image_a, 1 of image_b"):
        q.compare(["photos/1.png", "photos/2.png"], ["photos/2.png"])


def test_how_answers_are_drawn(folder: Path, engines: list[Any]) -> None:
    q = QInsight()
    first, again = (q.score("photos/2.png", samples=5, seed=3) for _ in range(2))
    assert first == again
    assert first.samples == 5
    assert first.rating != q.score("photos/2.png", samples=5, seed=4).rating
    assert q.score("photos/2.png", mode="direct").reasoning == ""
    for wrong in ({"mode": "fast"}, {"samples": 0}, {"samples": 2, "temperature": 0}, {"mode": "direct", "samples": 2}):
        with pytest.raises(QInsightError):
            q.score("photos/2.png", **wrong)


def test_it_says_at_once_that_there_is_no_such_model() -> None:
    with pytest.raises(QInsightError, match="did you mean tiny"):
        QInsight("tinny")


def test_the_cache_is_that_of_the_commands(
    folder: Path, engines: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("QINSIGHT_NO_CACHE")
    monkeypatch.setenv("QINSIGHT_CACHE", str(tmp_path / "cache"))
    plain = pixel_engine.PixelEngine.__init__

    def with_weights(self: Any, **more: Any) -> None:
        plain(self, **more)
        self.identity["weights"] = "1"

    monkeypatch.setattr(pixel_engine.PixelEngine, "__init__", with_weights)
    first, again = QInsight().score("photos"), QInsight().score("photos")
    assert first == again
    assert [sum(engine.batches) for engine in engines] == [4, 0]
    QInsight(cache=False).score("photos")
    assert sum(engines[-1].batches) == 4


def test_threads_share_one_model(folder: Path, engines: list[Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    q = QInsight()
    with ThreadPoolExecutor(4) as pool:
        ratings = list(pool.map(lambda i: q.score(f"photos/{i % 4}.png").rating, range(12)))
    assert ratings == [bright(i % 4) for i in range(12)]
    assert len(engines) == 1


# --- the reward ----------------------------------------------------------------------------------------------------


# --- the metric ----------------------------------------------------------------------------------------------------


# --- the package ---------------------------------------------------------------------------------------------------


def test_the_import_is_light() -> None:
    script = (
        "import sys; from qinsight_cli import QInsight, TaskReward, QualityMetric, Results; QInsight('tiny')\n"
        "TaskReward('score')(completions=['x'], rating=[1.0])\n"
        "print([name for name in ('torch', 'transformers', 'trl', 'pandas', 'PIL', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_of_the_package() -> None:
    import qinsight_cli

    assert all(getattr(qinsight_cli, name) is not None for name in qinsight_cli.__all__)
    assert set(qinsight_cli.__all__) <= set(dir(qinsight_cli))
    with pytest.raises(AttributeError):
        _ = qinsight_cli.Nothing
    assert (Path(qinsight_cli.__file__).parent / "py.typed").is_file()


def test_its_types_are_seen_by_others(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "from PIL import Image\n"
        "from qinsight_cli import QInsight, QualityMetric, TaskReward\n"
        "q = QInsight('tiny', batch_size=4)\n"
        "reveal_type(q.score(['a.jpg']))\nreveal_type(q.score(Image.new('L', (1, 1))).rating)\n"
        "reveal_type(q.degrade(['a.jpg'])[0].severity)\nreveal_type(q.compare(['a'], ['b'])[0].winner)\n"
        "q.score('a.jpg', sampels=2)\n"
    )
    others = ("torch", "transformers", "pandas", "typer", "rich", "scipy")  # what takes long to read
    sections = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\nignore_missing_imports = True\n" for name in others)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nfollow_imports = silent\n{sections}")
    command = [sys.executable, "-m", "mypy", "theirs.py"]
    # mypy does not follow the hook of an editable installation.
    where = {**os.environ, "MYPYPATH": str(Path(qinsight_cli.__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=where)
    found = re.findall(r'Revealed type is "(.*?)"', done.stdout)
    assert [each.replace("builtins.", "") for each in found] == [
        "qinsight_cli.api.results.Results[qinsight_cli.api.results.Score]",
        "float | None",
        "str | None",
        "str | None",
    ]
    wrong = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert all(line.startswith("theirs.py:8:") for line in wrong), done.stdout
    assert "sampels" in wrong[0]


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name, photo in (("a.jpg", "chelsea"), ("b.jpg", "coffee"), ("photos/c.jpg", "rocket")):
        Image.fromarray(photos(photo)).save(tmp_path / name)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    exec(compile("\n".join(blocks), "python.md", "exec"), {})
    assert "no such file" in capsys.readouterr().out

"""Files on this machine and in an object store; the latter against a store on loopback, with the extra `heavy`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from qinsight_cli.core import storage
from qinsight_cli.core.errors import ImageError, QInsightError
from qinsight_cli.core.images import load_image
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.inference.part_files import Parts


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """An empty S3 bucket."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        storage.file_system("s3://pictures")[0].mkdir("pictures")
        yield "s3://pictures"
    server.stop()


def test_files_in_a_store(store: str) -> None:
    storage.write(f"{store}/a/1.txt", b"one")
    storage.write(f"{store}/a/2.txt", b"twotwo")
    assert storage.files_under(f"{store}/a") == [f"{store}/a/1.txt", f"{store}/a/2.txt"]
    assert storage.read(f"{store}/a/2.txt", 0, 3) == b"two"
    storage.move(f"{store}/a/2.txt", f"{store}/a/3.txt")
    storage.remove(f"{store}/a/1.txt")
    assert storage.files_under(f"{store}/a") == [f"{store}/a/3.txt"]
    assert storage.files_under(f"{store}/none") == []
    with pytest.raises(FileNotFoundError):
        storage.read(f"{store}/a/1.txt")


def test_pictures_in_a_store(store: str, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.jpg")
    data = (tmp_path / "cat.jpg").read_bytes()
    for name in ("photos/10.jpg", "photos/9.jpg", "photos/notes.txt", "photos/more/1.png"):
        storage.write(f"{store}/{name}", data)
    found = find_images([f"{store}/photos"])
    assert found == [f"{store}/photos/{name}" for name in ("9.jpg", "10.jpg", "more/1.png")]
    assert load_image(found[0]).digest == load_image(tmp_path / "cat.jpg").digest
    with pytest.raises(ImageError, match="no such file"):
        load_image(f"{store}/photos/none.jpg")
    with pytest.raises(QInsightError, match="no images under"):
        find_images([f"{store}/nothing"])


def test_parts_in_a_store(store: str) -> None:
    parts = Parts(f"{store}/out", "parquet", ("path",), ("path", "rating", "key"), ("rating",))
    rows = [{"path": f"{store}/{i}.jpg", "rating": 3.5, "key": f"image:{i}"} for i in range(3)]
    parts.claim({"seed": 0}, restart=False)
    parts.write(rows)
    parts.write([{"path": "x.jpg", "rating": None, "key": ""}], errors=True)
    parts.claim({"seed": 0}, restart=False)
    assert len(parts.done(lambda words: None)) == 3
    assert len(storage.files_under(f"{store}/out")) == 2
    assert sorted(row["path"] for row in parts.all_rows(["rating"])) == [row["path"] for row in rows]
    with pytest.raises(QInsightError, match="seed 0 -> 1"):
        parts.claim({"seed": 1}, restart=False)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(QInsightError, match=r"pip install 'qinsight\[cloud\]'"):
        find_images(["gs://bucket/photos"])


def test_files_here(tmp_path: Path) -> None:
    folder = str(tmp_path / "new" / "folder")
    storage.make_folder(folder)
    path = storage.join(folder, "a.txt")
    storage.write(path, b"one")
    assert storage.files_under(folder) == [path]
    assert storage.read(path) == b"one"
    storage.move(path, storage.join(folder, "b.txt"))
    assert os.listdir(folder) == ["b.txt"]
    assert not storage.is_remote(folder)

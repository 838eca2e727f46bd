"""Pictures that crash, fill or outlast their decoder cost a row; the pixels that a model sees are the same as ever."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qinsight_cli.core.errors import ImageError
from qinsight_cli.core.images import decode_image
from qinsight_cli.core.images.fit import Target
from qinsight_cli.core.images.worker import Worker

NOISE = np.random.default_rng(5).integers(0, 256, (180, 240, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def worker() -> Any:
    made = Worker()
    yield made
    made.stop()


def test_the_process_gives_what_decoding_here_gives(worker: Worker) -> None:
    alpha = Image.fromarray(np.dstack([NOISE, NOISE[..., 0]]))
    for picture in (Image.fromarray(NOISE), Image.fromarray(NOISE[..., 0]), alpha):
        data = encoded(picture)
        here, notes = decode_image(data)
        there, told = worker.decode(data)
        assert (there.mode, told) == ("RGB", notes)
        assert np.array_equal(np.asarray(here), np.asarray(there))
    with pytest.raises(ImageError, match="not an image of a known kind"):
        worker.decode(b"nothing")
    with pytest.raises(ImageError, match="too large: 240 x 180 is more than 1,000 pixels"):
        worker.decode(encoded(Image.fromarray(NOISE)), max_pixels=1000)


def test_a_process_that_dies_is_started_anew(worker: Worker) -> None:
    data = encoded(Image.fromarray(NOISE))
    worker.decode(data)
    process = worker._process
    assert process is not None
    process.kill()
    process.wait()
    assert worker.decode(data)[0].size == (240, 180)
    process = worker._process
    os.kill(process.pid, 19)  # stopped: it answers nothing, as a decoder in an endless loop
    slow = Worker(seconds=0.02)
    slow._process, worker._process = process, None
    with pytest.raises(ImageError, match=r"took over 0\.02 seconds to decode"):
        slow.decode(data)
    assert slow._process is None
    slow.stop()


def slow_jpeg() -> bytes:
    """A progressive JPEG whose scans are repeated thousands of times: little to read, much to do."""
    data = encoded(Image.effect_noise((2000, 2000), 90), "JPEG", progressive=True, quality=30)
    end = data.rindex(b"\xff\xd9")
    last = data.rindex(b"\xff\xda", 0, end)
    empty = data[last : last + 2 + struct.unpack(">H", data[last + 2 : last + 4])[0]]
    return data[:end] + (empty + b"\0\0") * 20_000 + data[end:]


def test_a_picture_that_takes_hours_is_ended(worker: Worker) -> None:
    quick = Worker(seconds=1.0)
    with pytest.raises(ImageError, match=r"took over 1 seconds to decode|broken image"):
        quick.decode(slow_jpeg())
    assert quick.decode(encoded(Image.fromarray(NOISE)))[0].size == (240, 180)
    quick.stop()


def test_a_signal_as_the_clock_starts_leaves_no_clock_running(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python waits at its end for threads that are no daemons: a worker of `prepare` stayed for minutes."""
    start = threading.Timer.start
    clocks = []

    def interrupted(clock: threading.Timer) -> None:
        start(clock)
        clocks.append(clock)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Timer, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.decode(b"no picture")
    (clock,) = clocks
    assert clock.daemon
    assert clock.finished.is_set()


def test_it_ends_with_its_parent_and_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(NOISE)))
    words = (
        "import sys; from qinsight_cli.core.images.worker import WORKER; "
        "WORKER.decode(open(sys.argv[1], 'rb').read()); "
        "number = WORKER._process.pid; maps = open(f'/proc/{number}/maps').read(); "
        "print(number, 'torch' in sys.modules, maps.count('torch'))"
    )
    done = subprocess.run([sys.executable, "-c", words, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    number, *torch = done.stdout.split()
    assert torch == ["False", "0"]
    assert not Path(f"/proc/{number}").exists()


def grey_bomb(side: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(bytes(side * (side + 1)), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_a_large_grey_picture_takes_little_more_than_its_pixels(worker: Worker) -> None:
    side, target = 6000, Target(28, 3136, 200_000)
    image, _ = worker.decode(grey_bomb(side), target=target)
    assert image.size == target.size(side, side)
    assert worker._process is not None
    status = Path(f"/proc/{worker._process.pid}/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) << 10
    assert peak < 2.5 * side * side + (100 << 20)  # 36 MB of grey; as RGB in floats it was over a gigabyte


# The size that the model sees


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([28, 32]), st.integers(1, 400), st.integers(1, 16_000)
)
def test_sizes_are_those_of_transformers(width: int, height: int, factor: int, smallest: int, largest: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    if max(width, height) > 200 * min(width, height):
        return
    limits = sorted((smallest * 784, largest * 784))
    high, wide = smart_resize(height, width, factor, *limits)
    assert Target(factor, *limits).size(width, height) == (wide, high)


@pytest.mark.parametrize("size", [(240, 180), (33, 500), (1900, 11), (700, 700), (64, 64), (5, 9)])
def test_the_processor_gives_the_same_pixels_as_from_the_full_picture(size: tuple[int, int]) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 64 * 64, "longest_edge": 128 * 128})
    full = Image.fromarray(NOISE).resize(size)
    target = Target(processor.patch_size * processor.merge_size, 64 * 64, 128 * 128)
    for picture in (full, full.convert("L")):
        whole = processor([picture.convert("RGB")])
        fitted = processor([target.fit(picture).convert("RGB")])
        assert np.array_equal(whole["image_grid_thw"], fitted["image_grid_thw"])
        assert np.array_equal(np.asarray(whole["pixel_values"]), np.asarray(fitted["pixel_values"]))


def test_a_strip_is_refused_before_it_is_resized(worker: Worker) -> None:
    with pytest.raises(ImageError, match="450 x 2 pixels: one side is over 200 times the other"):
        worker.decode(encoded(Image.new("RGB", (450, 2))), target=Target(28, 3136, 10_000))

"""Files that are whole or not there, locks that hold, folders that are left alone."""

from __future__ import annotations

import errno
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qinsight_cli.core import files
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.files import (
    claim_folder,
    locked,
    read_at,
    write_atomically,
    write_bytes,
    write_text,
)


def put(path: Path, data: bytes) -> None:
    with write_atomically(str(path)) as file:
        file.write(data)


WRITERS = pytest.mark.parametrize("write", [put, write_bytes], ids=["write_atomically", "write_bytes"])


def test_an_output_appears_whole_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o640)
    with write_atomically(str(path)) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_exception_the_old_output_stands(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail() -> None:
        with write_atomically(str(path)) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "out.csv").symlink_to("real.csv")
    with write_atomically(str(tmp_path / "out.csv")) as file:
        file.write(b"new")
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


def test_a_disk_that_fails_at_the_end_leaves_the_old_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(QInsightError, match="No space left on device"), write_atomically(str(path)) as file:
        file.write(b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@WRITERS
def test_nothing_is_written_through_a_link_at_a_temporary_name(
    write: Callable[[Path, bytes], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when its random part were guessed."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    (tmp_path / f".out.csv.{'0' * 16}.part").symlink_to(victim)
    (tmp_path / "out.csv").write_text("old")
    if write is write_bytes:
        with pytest.raises(QInsightError, match=r"cannot write .*out\.csv: File exists"):
            write(tmp_path / "out.csv", b"new")
    else:
        write(tmp_path / "out.csv", b"new")  # what a killed writer of this file left is swept away first
    assert victim.read_text() == "precious"


def test_nothing_is_written_through_a_link_at_the_lock(tmp_path: Path) -> None:
    (tmp_path / ".out.csv.lock").symlink_to(tmp_path / "made")
    with pytest.raises(QInsightError, match="cannot write"):
        put(tmp_path / "out.csv", b"new")
    assert not (tmp_path / "made").exists()


def test_a_link_to_a_picture_is_replaced_and_what_it_points_at_is_left(tmp_path: Path) -> None:
    (tmp_path / "original.png").write_bytes(b"original")
    (tmp_path / "copy.png").symlink_to("original.png")
    write_bytes(tmp_path / "copy.png", b"copy")
    assert (tmp_path / "original.png").read_bytes() == b"original"
    assert not (tmp_path / "copy.png").is_symlink()


@WRITERS
def test_new_files_have_the_permissions_of_the_umask_and_old_ones_keep_theirs(
    write: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    write(tmp_path / "new", b"x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


@WRITERS
@pytest.mark.parametrize("name", ["n" * 255, "\u957f" * 85, "caf\udce9.png"])
def test_names_as_long_as_the_disk_takes_and_names_that_are_no_text(
    write: Callable[[Path, bytes], None], name: str, tmp_path: Path
) -> None:
    write(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match=r"cannot write .*: File name too long"):
        write_bytes(tmp_path / ("n" * 256), b"x")
    assert list(tmp_path.iterdir()) == []


@WRITERS
def test_a_real_limit_of_the_disk(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    """EFBIG in a process of its own, as under `ulimit -f`."""
    words = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); from core import test_files; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
        f"test_files.{write.__name__}(Path(sys.argv[1]) / 'out', bytes(5000))"
    )
    (tmp_path / "out").write_bytes(b"old")
    arguments = [sys.executable, "-c", words, str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"qinsight_cli.core.errors.QInsightError: cannot write {tmp_path / 'out'}: File too large"
    )
    assert (tmp_path / "out").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path: Path) -> None:
    words = (
        "import os, sys; from qinsight_cli.core.files import write_atomically\n"
        "with write_atomically(sys.argv[1]) as file:\n    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    (tmp_path / "out.csv").write_text("old")
    subprocess.run([sys.executable, "-c", words, str(tmp_path / "out.csv")], check=False)
    assert len(list(tmp_path.iterdir())) > 1
    assert (tmp_path / "out.csv").read_text() == "old"
    (tmp_path / ".other.csv.0123456789abcdef.part").touch()
    put(tmp_path / "out.csv", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", ".other.csv.0123456789abcdef.part"}


def test_two_processes_cannot_write_one_output(tmp_path: Path) -> None:
    words = (
        "import sys; from qinsight_cli.core.files import write_atomically\n"
        "with write_atomically(sys.argv[1]) as file: file.write(b'second')"
    )
    command = [sys.executable, "-c", words, str(tmp_path / "out.csv")]
    with write_atomically(str(tmp_path / "out.csv")) as file:
        file.write(b"first")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"another qinsight is writing {tmp_path / 'out.csv'}" in done.stderr
    assert (tmp_path / "out.csv").read_text() == "first"
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "out.csv").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_text_without_a_spelling_in_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "\u957f\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "\u957f\r\n".encode()
    with pytest.raises(QInsightError, match=r"cannot write .*b\.txt: '\\udce9' is not text"):
        write_text(tmp_path / "b.txt", "caf\udce9")
    assert not (tmp_path / "b.txt").exists()


def test_claiming_a_folder(tmp_path: Path) -> None:
    claim_folder(tmp_path / "new/deep", "bench", lambda: False)
    claim_folder(tmp_path / "new/deep", "bench", lambda: False)  # empty
    for leaving in (".DS_Store", "._.DS_Store", "Thumbs.db"):  # a file manager has shown it
        (tmp_path / "new/deep" / leaving).touch()
    claim_folder(tmp_path / "new/deep", "bench", lambda: False)
    (tmp_path / "new/deep/photo.jpg").touch()
    claim_folder(tmp_path / "new/deep", "bench", lambda: True)
    with pytest.raises(QInsightError, match="holds files that are no bench of qinsight; choose another --out"):
        claim_folder(tmp_path / "new/deep", "bench", lambda: False)
    with pytest.raises(QInsightError, match="already holds the dataset 'x'"):
        claim_folder(tmp_path / "new/deep", "dataset", lambda: False, "the dataset 'x'")
    with pytest.raises(QInsightError, match="is a file; choose another --out"):
        claim_folder(tmp_path / "new/deep/photo.jpg", "bench", lambda: True)
    with pytest.raises(QInsightError, match=r"cannot write .*: Not a directory"):
        claim_folder(tmp_path / "new/deep/photo.jpg/x", "bench", lambda: True)


class OtherLocks:
    """Windows' module for locks, as far as it is used: a range of bytes, refused with EACCES when it is held."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.holders: dict[tuple[int, int], int] = {}

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        assert place[1] > 1 << 32, "what is read is not locked"
        holder = self.holders.get(place)
        if holder not in (None, descriptor) and self.is_open(holder, place[0]):
            raise PermissionError(errno.EACCES, "Permission denied")
        self.holders[place] = descriptor

    def is_open(self, descriptor: int, number: int) -> bool:
        """A closed file holds nothing."""
        try:
            return os.fstat(descriptor).st_ino == number
        except OSError:
            return False


def test_a_folder_whose_parent_takes_no_files_is_held_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As around a folder that is mounted into a container."""
    out, locks = tmp_path / "mounted" / "out", tmp_path / "locks"
    out.mkdir(parents=True)
    locks.mkdir()
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(locks))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out.parent)
    with files.held_folder(out):
        assert len(list(locks.iterdir())) == 1
        assert [path.name for path in out.parent.iterdir()] == ["out"]
        with pytest.raises(QInsightError, match=re.escape(str(out))), files.held_folder(out):
            pass
    assert not list(locks.iterdir())


def test_without_flock_and_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other ways, taken on this platform."""
    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", OtherLocks(), raising=False)
    monkeypatch.delattr(os, "pread")
    lock = str(tmp_path / "lock")
    with (
        pytest.raises(QInsightError, match=r"another qinsight is writing out\.csv"),
        locked(lock, "out.csv"),
        locked(lock, "out.csv"),
    ):
        pytest.fail("held twice")
    assert not (tmp_path / "lock").exists()
    put(tmp_path / "out.csv", b"0123456789")
    descriptor = os.open(tmp_path / "out.csv", os.O_RDONLY)
    assert read_at(descriptor, 3, 4) == b"456"
    os.close(descriptor)

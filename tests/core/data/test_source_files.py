from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from qinsight_cli.core.data.names import distinct_names
from qinsight_cli.core.data.readers import published
from qinsight_cli.core.data.source_files import ImageFinder, label_files, looks_like
from qinsight_cli.core.errors import QInsightError

# One label file of each dataset, where its authors put it, and its first line.
SHIPPED = {
    "koniq": ("koniq10k_distributions_sets.csv", "image_name,MOS"),
    "spaq": ("Annotations/MOS and Image attribute scores.xlsx", ""),
    "kadid": ("dmos.csv", "dist_img,ref_img,dmos,var"),
    "pipal": ("Train_Label/A0001.txt", "A0001_00_00.bmp,1500"),
    "livew": ("Data/AllMOS_release.mat", ""),
    "csiq": ("csiq.DMOS.xlsx", ""),
    "tid2013": ("mos_with_names.txt", "5.5 I01_01_1.bmp"),
    "biq2021": ("Train (Images and MOS).csv", "Image Name,MOS,,"),
    "kadis": ("refA_sd_brief/metas/train_refA_sd_brief.json", "[]"),
    "diffiqa": ("train_comparison.json", "[]"),
    "srbench": ("MOS/online1_Original.txt", "online1_Original.png,5"),
    "agiqa": ("data.csv", "name,prompt,adj1,adj2,style,mos_quality"),
}


def test_every_dataset_is_here() -> None:
    assert set(SHIPPED) == set(published())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_dataset_is_known_by_its_label_file(name: str, tmp_path: Path) -> None:
    file, line = SHIPPED[name]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(line + "\n")
    assert looks_like(tmp_path) == [name]
    assert label_files(tmp_path, name) == [tmp_path / file]
    other = "koniq" if name != "koniq" else "kadid"
    titles = {known: re.escape(dataset.title) for known, dataset in published().items()}
    words = f"is not {titles[other]}: it has no .*; it looks like {titles[name]}: qinsight prepare {name}"
    with pytest.raises(QInsightError, match=words):
        label_files(tmp_path, other)


def test_a_folder_that_is_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n")
    with pytest.raises(QInsightError, match=r"is not KADID-10k: it has no dmos\.csv; see docs/datasets\.md"):
        label_files(tmp_path, "kadid")
    with pytest.raises(QInsightError, match="no such file or folder"):
        label_files(tmp_path / "gone", "kadid")


def test_the_shallowest_label_file_is_taken(tmp_path: Path) -> None:
    for folder in ("backup/old", "."):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "DMOS.csv").write_text("dist_img,ref_img,dmos\n")
    assert label_files(tmp_path, "kadid") == [tmp_path / "DMOS.csv"]


@pytest.fixture
def pictures(tmp_path: Path) -> ImageFinder:
    for name in ("a/x.png", "b/x.png", "b/deep/Y.JPG", "z.bmp", ".hidden/h.png", "out/x.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return ImageFinder(tmp_path, folders=("b",), without=tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/x.png", "a/x.png"),
        ("b/x.png", "b/x.png"),
        ("x.png", "b/x.png"),  # of two the one in the preferred folder
        ("A\\X.PNG", "a/x.png"),
        ("somewhere/else/a/x.png", "a/x.png"),
        ("./deep/y.jpg", "b/deep/Y.JPG"),
        ("c/x.png", None),
        ("c/z.bmp", "z.bmp"),
        ("deeper/y.jpg", None),
        ("../a/x.png", "a/x.png"),
        ("b\\..\\a\\x.png", "a/x.png"),
        ("nowhere/../z.bmp", "z.bmp"),
        ("h.png", None),
        ("notes.txt", None),
        ("", None),
    ],
)
def test_finding_a_picture(name: str, found: str | None, pictures: ImageFinder) -> None:
    assert pictures.find(name) == (pictures.root / found if found else None)


def test_all_pictures_but_hidden_ones_and_the_output(pictures: ImageFinder) -> None:
    assert {path.relative_to(pictures.root).as_posix() for path in pictures} == {
        "a/x.png",
        "b/x.png",
        "b/deep/Y.JPG",
        "z.bmp",
    }


def test_a_link_to_a_folder_is_followed_and_a_circle_is_not(tmp_path: Path) -> None:
    (tmp_path / "disk/images").mkdir(parents=True)
    (tmp_path / "disk/images/x.png").touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "disk/images")
    (tmp_path / "disk/images/up").symlink_to(tmp_path / "disk")
    assert ImageFinder(tmp_path / "set").find("images/x.png") == tmp_path / "set/images/x.png"


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(QInsightError, match="no such folder"):
        ImageFinder(tmp_path / "gone")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_in_either_normal_form(form: str, tmp_path: Path) -> None:
    for kept in ("NFC", "NFD"):
        folder = tmp_path / kept
        (folder / unicodedata.normalize(kept, "Éclair")).mkdir(parents=True)
        path = folder / unicodedata.normalize(kept, "Éclair/café Å.png")
        path.touch()
        assert ImageFinder(folder).find(unicodedata.normalize(form, "éclair/Café Å.png")) == path


def test_names_that_tell_paths_apart() -> None:
    paths = [Path(path) for path in ("/a/x.png", "/b/x.png", "/c/y.png", "/d/e/z.png", "/f/e/z.png")]
    assert list(distinct_names(paths).values()) == ["a/x.png", "b/x.png", "y.png", "d/e/z.png", "f/e/z.png"]

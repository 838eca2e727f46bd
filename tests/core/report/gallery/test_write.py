"""One file, or a first page and a folder: which cards stand where, and what may be written over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.report.gallery import write
from qinsight_cli.core.report.gallery.cards import Card, Picture
from qinsight_cli.core.report.gallery.page import About
from qinsight_cli.core.report.gallery.write import check_gallery, is_gallery, pages_folder, write_gallery


def cards_of(count: int) -> list[Card]:
    return [Card((Picture("", f"{i}.png"),), 1 + 4 * i / count, badness=-float(i)) for i in range(count)]


def names(path: Path) -> list[str]:
    return re.findall(r'data-name="([^"]*)"', path.read_text(encoding="utf-8"))


def test_many_cards_are_pages_in_order_that_lead_to_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "PER_PAGE", 10)
    path = tmp_path / "r.html"
    assert write_gallery(str(path), About("t"), cards_of(25)[::-1]) == 3
    pages = [path, tmp_path / "r-pages" / "page-2.html", tmp_path / "r-pages" / "page-3.html"]
    assert [names(page) for page in pages] == [[f"{i}.png" for i in range(a, min(25, a + 10))] for a in (0, 10, 20)]
    for page in pages:
        html = page.read_text(encoding="utf-8")
        top = html[html.index('aria-label="Pages, top"') : html.index("</nav>")]
        links = re.findall(r'<a href="([^"]*)"', top)
        assert [(page.parent / link).resolve() for link in links] == pages
        assert top.count("aria-current") == 1
    assert write_gallery(str(path), About("t"), cards_of(12)) == 2
    assert not pages[2].exists()
    assert write_gallery(str(path), About("t"), cards_of(3)) == 1
    assert not pages_folder(str(path)).exists()


def test_the_picture_is_in_the_file(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    calls: list[int] = []
    card = Card((Picture("", str(tmp_path / "red.png")),), 2.0)
    write_gallery(str(tmp_path / "r.html"), About("t"), [card], advance=lambda: calls.append(1))
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'src="data:image/webp;base64,' in html
    assert 'data-address="red.png"' in html
    assert calls == [1]


def test_only_own_files_are_written_over(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("<html>mine</html>")
    with pytest.raises(QInsightError, match="--force"):
        check_gallery(str(path), 3, force=False)
    check_gallery(str(path), 3, force=True)
    write_gallery(str(path), About("t"), [])
    assert is_gallery(path.read_bytes()[:512])
    check_gallery(str(path), 3, force=False)
    (tmp_path / "r-pages").mkdir()
    (tmp_path / "r-pages" / "page-2.html").write_text("mine")
    with pytest.raises(QInsightError, match="already holds"):
        check_gallery(str(path), 501, force=False)

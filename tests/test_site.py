"""The documentation as a site: built strictly, whole, and with nothing that comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import generate
import site_pages

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself: scripts, styles, pictures and fonts; not where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "data") + (("href",) if tag == "link" else ())
        self.addresses += [value for name, value in attrs if name in names and value]


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    sources = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    for source in sources | set(site_pages.ELSEWHERE):
        folder = source.removesuffix("index.md").removesuffix(".md")
        assert site / folder / "index.html" in pages
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert len(loaded.addresses) > 3  # its own style and script
        assert not [each for each in loaded.addresses if re.match(r"(?:https?:)?//", each)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_start_is_the_readme_and_its_links_stay_on_the_site(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    title = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    assert f'<h1 id="{title}">' in start
    assert 'href="usage/"' in start
    assert 'href="docs/' not in start
    assert 'href="contributing/"' in start


def test_the_navigation_has_every_command_in_the_order_of_the_help(site: Path) -> None:
    page = (site / "commands" / "score" / "index.html").read_text(encoding="utf-8")
    navigation = page.partition('<nav class="md-nav md-nav--primary')[2].partition('data-md-type="toc"')[0]
    linked = re.findall(r'href="(?:\.\./)?([a-z0-9-]+)/"', navigation)
    wanted = [generate.file_of(command).removesuffix(".md") for command in generate.commands() if command]
    assert set(wanted) - {"score"} <= set(linked)  # its own page is linked as ./
    order = [name for name in linked if name in wanted and "prepare" not in name]
    assert order == [name for name in wanted if "prepare" not in name and name != "score"]


def test_links_of_the_repository_become_links_of_the_site() -> None:
    assert site_pages.site_link("docs/usage.md", "index.md") == "usage.md"
    assert site_pages.site_link("docs/commands/index.md", "index.md") == "commands/index.md"
    assert site_pages.site_link("../qinsight_cli/tiny/README.md", "tiny.md") == "model-card.md"
    assert site_pages.site_link("../../README.md", "model-card.md") == "index.md"
    assert site_pages.site_link("../usage.md", "commands/score.md") == "../usage.md"
    assert site_pages.site_link("LICENSE", "index.md") == "LICENSE"  # not on the site, so the build says so

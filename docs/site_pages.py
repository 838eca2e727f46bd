"""A hook of MkDocs: pages from outside docs/, links to them, and the list of commands."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Page of the site -> its file in the repository.
ELSEWHERE = {
    "index.md": "README.md",
    "model-card.md": "qinsight_cli/tiny/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
PAGES = {source: page for page, source in ELSEWHERE.items()}
LINK = re.compile(r"(\]\(|\b(?:src|srcset|href)=\")([^)\s\"#:]+)(#[^)\s\"]*)?(?=[)\"])")


def on_config(config: Any) -> Any:
    """Fill the section Commands of the navigation with the pages of docs/commands/, in the order of the help."""
    for section in config.nav:
        if "Commands" in section:
            section["Commands"] = ["commands/index.md", *commands_on("index.md")]
    return config


def commands_on(page: str) -> list[Any]:
    """The pages of commands that a page of docs/commands/ lists; a page that lists others is a section."""
    folder = ROOT / "docs" / "commands"
    linked = re.findall(r"^- \[`[a-z0-9-]+`\]\((.+\.md)\)", (folder / page).read_text(encoding="utf-8"), re.MULTILINE)
    below = {name: commands_on(name) for name in linked}
    return [
        {f"qinsight {name[:-3]}": [f"commands/{name}", *below[name]]} if below[name] else f"commands/{name}"
        for name in linked
    ]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/."""
    from mkdocs.structure.files import File

    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links that are right in the repository -> links that are right on the site."""
    uri = page.file.src_uri
    return LINK.sub(lambda found: f"{found[1]}{site_link(found[2], uri)}{found[3] or ''}", markdown)


def site_link(link: str, uri: str) -> str:
    """A relative link of the page `uri`, written for the repository -> the same link on the site."""
    source = posixpath.normpath(posixpath.join(posixpath.dirname(ELSEWHERE.get(uri, f"docs/{uri}")), link))
    target = PAGES.get(source, source.removeprefix("docs/") if source.startswith("docs/") else None)
    return link if target is None else posixpath.relpath(target, posixpath.dirname(uri) or ".")

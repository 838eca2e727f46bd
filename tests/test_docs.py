"""The pages that are written from the program say what the program says."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_commands_is_that_of_help() -> None:
    generate = runpy.run_path(str(DOCS / "generate.py"))
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == generate["page"](), "run python docs/generate.py"

"""Write docs/commands/ from the help, the keys in docs/training.md from the recipe, the file map from docstrings.

Run `python docs/generate.py`. A test fails when a page is out of date.
"""

from __future__ import annotations

import ast
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import typer

from qinsight_cli.commands.examples import examples
from qinsight_cli.commands.help_page import Page, page_of
from qinsight_cli.commands.root import build_app
from qinsight_cli.commands.root_help import COMMANDS
from qinsight_cli.commands.root_help import page as root_page
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.keys import option_of, settings

PAGES = Path(__file__).parent / "commands"
TRAINING = Path(__file__).parent / "training.md"
CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"
PACKAGE = Path(__file__).parent.parent / "qinsight_cli"
BEGIN, END = "<!-- the keys of GrpoRecipe, by docs/generate.py -->\n", "<!-- end -->\n"
MAP_BEGIN = "<!-- the first docstring line of every module, by docs/generate.py -->\n"
WRITTEN = "by docs/generate.py"
WIDTH, COLUMN = 118, 34  # of the file map: its lines, and where the descriptions begin


def commands() -> list[str]:
    """Every command of the app, "" for the app itself, as words on the command line."""
    return list(pages())


@cache
def pages() -> dict[str, Page]:
    """The help page of every command, the program's own under ""."""
    root = typer.main.get_command(build_app(COMMANDS))
    context = typer.Context(root, info_name="qinsight", help_option_names=["-h", "--help"])
    return {"": root_page(), **below(root, context)}


def below(group: Any, context: Any) -> dict[str, Page]:
    """The pages of the commands of a group, and of the groups in it."""
    found: dict[str, Page] = {}
    for name, command in group.commands.items():
        own = typer.Context(command, info_name=name, parent=context)
        words = " ".join(own.command_path.split()[1:])
        found[words] = page_of(command, own, examples(words))
        if hasattr(command, "commands"):
            found |= below(command, own)
    return found


def entries(command: str) -> list[tuple[str, str, str]]:
    """The name, the value and the help of every option, argument and command on a page."""
    return [(each.name, each.value, each.words) for section in pages()[command].sections for each in section.entries]


def file_of(command: str) -> str:
    """The file of a command's page in docs/commands/."""
    return f"{command.replace(' ', '-') or 'index'}.md"


def markdown(command: str) -> str:
    """The page of a command as Markdown."""
    page = pages()[command]
    parts = [f"# {f'qinsight {command}'.strip()}", *map(escaped, page.paragraphs), f"```text\n{page.usage}\n```"]
    lines = [f"# {words}\n{line}" for line, words in page.examples]
    parts += ["## Examples", "```sh\n" + "\n".join(lines) + "\n```"]
    for section in page.sections:
        rows = []
        for entry in section.entries:
            name = f"`{' '.join(filter(None, (entry.name, entry.value)))}`"
            if section.title == "Commands":
                name = f"[{name}]({file_of(f'{command} {entry.name}'.strip())})"
            rows.append(f"- {name}: {escaped(entry.words)}")
        parts += [f"## {section.title}", "\n".join(rows)]
    return "\n\n".join([*parts, f"<!-- {WRITTEN} -->"]) + "\n"


def escaped(words: str) -> str:
    """Plain words as Markdown."""
    return re.sub(r"([*_\[\]`])", r"\\\1", words).replace("<", "&lt;").replace(">", "&gt;")


def write_commands() -> None:
    """Write the page of every command, and remove those of old commands."""
    PAGES.mkdir(exist_ok=True)
    for old in PAGES.glob("*.md"):
        old.unlink()
    for command in commands():
        (PAGES / file_of(command)).write_text(markdown(command), encoding="utf-8")


def keys() -> str:
    """The table of the keys of a GRPO recipe: name, option, default, what it does."""
    lines = ["| key | option | default | what it does |", "| --- | --- | --- | --- |"]
    for each, kind, setting in settings(GrpoRecipe):
        option = option_of(each.name, setting, kind).replace("/", "`, `")
        default = plain(getattr(GrpoRecipe(), each.name))
        lines.append(f"| `{each.name}` | `{option}` | {default} | {setting.help} |")
    return "\n".join(lines) + "\n"


def plain(default: Any) -> str:
    """A default as a recipe would say it; nothing for an empty one."""
    if isinstance(default, bool):
        return str(default).lower()
    return ", ".join(default) if isinstance(default, tuple) else "" if default in ("", {}) else str(default)


def training() -> str:
    """docs/training.md with the table in its place."""
    return between(TRAINING, BEGIN, keys())


def contributing() -> str:
    """CONTRIBUTING.md with the file map in its place."""
    return between(CONTRIBUTING, MAP_BEGIN, f"```text\n{file_map()}```\n")


def between(page: Path, begin: str, words: str) -> str:
    """The text of a page with new words between the line `begin` and the next END."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n{words}\n{END}{after}"


def file_map() -> str:
    """The modules of the package as a tree, each with the first line of its docstring."""
    return "".join(branch(PACKAGE, 0))


def branch(folder: Path, depth: int) -> list[str]:
    """The lines of a package: its own, those of its modules, those of its subpackages."""
    lines = [entry(f"{folder.name}/", first_line(folder / "__init__.py"), depth)]
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            lines.append(entry(path.name, first_line(path), depth + 1))
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").is_file():
            lines += branch(path, depth + 1)
    return lines


def entry(name: str, words: str, depth: int) -> str:
    """One name and what is in it, wrapped."""
    head = f"{'  ' * depth}{name}".ljust(COLUMN - 2) + "  "
    return textwrap.fill(words, WIDTH, initial_indent=head, subsequent_indent=" " * COLUMN) + "\n"


def first_line(module: Path) -> str:
    """The first line of the docstring of a module."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    write_commands()
    TRAINING.write_text(training(), encoding="utf-8")
    CONTRIBUTING.write_text(contributing(), encoding="utf-8")

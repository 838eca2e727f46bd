"""qinsight explain: the reasoning of several models about a picture, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from qinsight_cli.commands.answers import ScoreAnswers
from qinsight_cli.commands.console import say, show, waiting
from qinsight_cli.commands.flat import flat, written
from qinsight_cli.commands.judging import SOME_ROWS_FAILED
from qinsight_cli.commands.options import OUTPUT, Compute, Force
from qinsight_cli.commands.remote import Serving
from qinsight_cli.core.engines import load
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.files import write_atomically
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.inference.prefetch import Item
from qinsight_cli.core.output_checks import check_output
from qinsight_cli.core.report.gallery.cards import Card, card_of
from qinsight_cli.core.report.gallery.thumbnails import bytes_each, thumbnail
from qinsight_cli.core.report.gallery.write import is_gallery
from qinsight_cli.core.report.rows import row_of
from qinsight_cli.core.report.side_by_side import Explained, page, terminal
from qinsight_cli.core.tasks import TASKS, Task

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO", help="Photos, folders, quoted globs, or - for a list; two images for a comparison."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Explaining:
    """The models, the question, and the page to write."""

    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="[LABEL=]NAME", help="A model to ask; repeatable. (default: tiny)"),
    ] = None
    task: Annotated[str, typer.Option("--task", help=f"The question: {', '.join(TASKS)}.")] = next(iter(TASKS))
    ref: Annotated[
        str | None, typer.Option("--ref", metavar="FILE", help="The original of both images of a comparison.")
    ] = None
    html: Annotated[
        str | None,
        written("--html", metavar="FILE", help="Write a page with the pictures to FILE.", rich_help_panel=OUTPUT),
    ] = None
    force: Force = False


@flat
def explain(images: Images, *, options: Explaining, compute: Compute, answers: ScoreAnswers) -> None:
    """Show the reasoning of several models about the same pictures side by side.

    The output is a table, and with --html also a page in one file.
    """
    from qinsight_cli.core.bench.systems.model import parse_label
    from qinsight_cli.core.models.names import TINY

    if options.task not in TASKS:
        raise UsageError(f"--task {options.task}: tasks are {', '.join(TASKS)}")
    task = TASKS[options.task].styled(answers.prompt_style.value)
    items = _items(task, images, options.ref)
    models = [parse_label(name) for name in options.model or [TINY]]
    if len({label for label, _ in models}) < len(models):
        raise UsageError("two models have the same label; give each its own with LABEL=NAME")
    if options.html is not None:
        check_output(options.html, is_gallery, options.force, [path for item in items for path in item.values()])
    said = [_cards(task, items, label, name, compute, answers) for label, name in models]
    explained = [
        Explained(cards[0].pictures, [(label, card) for (label, _), card in zip(models, cards, strict=True)])
        for cards in zip(*said, strict=True)
    ]
    show(terminal(explained))
    if options.html is not None:
        _write_page(options.html, explained)
    if any(card.error for cards in said for card in cards):
        raise typer.Exit(SOME_ROWS_FAILED)


def _items(task: Task, images: Sequence[str], reference: str | None) -> list[Item]:
    """The questions: one for each image, or one for all images of a task with several roles."""
    if reference is not None and not task.optional:
        raise UsageError(f"--ref is for a comparison of two images, not for {task.name}")
    if len(task.roles) == 1:
        return [{task.roles[0]: image} for image in find_images(images, getattr(sys.stdin, "buffer", None), say=say)]
    if len(images) != len(task.roles):
        raise UsageError(f"{task.name} needs {len(task.roles)} images, not {len(images)}")
    more = {} if reference is None else {task.optional[0]: reference}
    return [{**more, **dict(zip(task.roles, images, strict=True))}]


def _cards(
    task: Task, items: Sequence[Item], label: str, name: str, compute: Compute, answers: ScoreAnswers
) -> list[Card]:
    """The answers of one model, which is freed afterwards."""
    loading = compute.options(Serving())
    model = loading.name_for(name, task)
    say(f"model: {label}" if label == model else f"model: {label} ({model})")
    with waiting(f"loading {model}"):
        engine = load(model, loading, say)
    results = assess(task, items, engine, answers.decoding, batch_size=compute.batch_size, seed=answers.seed, say=say)
    return [card_of(task, row_of(task, result, model)) for result in results]


def _write_page(path: str, explained: Sequence[Explained]) -> None:
    paths = dict.fromkeys(picture.path for one in explained for picture in one.pictures)
    small = {each: thumbnail(each, bytes_each(len(paths))) for each in paths}
    folder = os.path.dirname(os.path.abspath(path))
    with write_atomically(path) as file:
        file.write(page("The reasoning side by side", explained, small, folder).encode())
    say(f"written to {path}")

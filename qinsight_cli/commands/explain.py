"""qinsight explain: what several models say about a picture, side by side."""

from __future__ import annotations

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
from qinsight_cli.core.engines import load
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.inference.assess import assess
from qinsight_cli.core.inference.prefetch import Item
from qinsight_cli.core.report.gallery.cards import Card, card_of
from qinsight_cli.core.report.rows import row_of
from qinsight_cli.core.report.side_by_side import Explained, folder_of, page, terminal
from qinsight_cli.core.tasks import TASKS, Task

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO", help="Photos, folders, quoted globs, or - for a list; for a comparison two images."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Who is asked what, and where the page goes."""

    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="[LABEL=]NAME", help="A model to ask; repeatable. (default: tiny)"),
    ] = None
    task: Annotated[str, typer.Option("--task", help=f"What is asked: {', '.join(TASKS)}.")] = next(iter(TASKS))
    ref: Annotated[
        str | None, typer.Option("--ref", metavar="FILE", help="With two images: the picture both were made from.")
    ] = None
    html: Annotated[
        str | None,
        written("--html", metavar="FILE", help="Write a page with the pictures to FILE.", rich_help_panel=OUTPUT),
    ] = None
    force: Force = False


@flat
def explain(images: Images, *, asking: Asking, compute: Compute, answers: ScoreAnswers) -> None:
    """Show the reasoning of several models about the same pictures side by side.

    In the terminal, and with --html as a page that needs nothing from elsewhere.
    """
    from qinsight_cli.core.bench.systems.model import parse_label
    from qinsight_cli.core.models.names import TINY

    if asking.task not in TASKS:
        raise UsageError(f"--task {asking.task}: tasks are {', '.join(TASKS)}")
    task = TASKS[asking.task].styled(answers.prompt_style.value)
    items = _items(task, images, asking.ref)
    models = [parse_label(name) for name in asking.model or [TINY]]
    if len({label for label, _ in models}) < len(models):
        raise UsageError("two models have one label; name them apart with LABEL=NAME")
    if asking.html is not None:
        _check_page(asking, items)
    said = [_cards(task, items, label, name, compute, answers) for label, name in models]
    explained = [
        Explained(cards[0].pictures, [(label, card) for (label, _), card in zip(models, cards, strict=True)])
        for cards in zip(*said, strict=True)
    ]
    show(terminal(explained))
    if asking.html is not None:
        _write_page(asking.html, explained)
    if any(card.error for cards in said for card in cards):
        raise typer.Exit(SOME_ROWS_FAILED)


def _items(task: Task, images: Sequence[str], reference: str | None) -> list[Item]:
    """The questions: one for each image, or one for all images of a task of several."""
    if reference is not None and not task.optional:
        raise UsageError(f"--ref is for a comparison of two images, not for {task.name}")
    if len(task.roles) == 1:
        return [{task.roles[0]: image} for image in find_images(images, getattr(sys.stdin, "buffer", None), say=say)]
    if len(images) != len(task.roles):
        raise UsageError(f"{task.name} is asked about {len(task.roles)} images, not {len(images)}")
    more = {} if reference is None else {task.optional[0]: reference}
    return [{**more, **dict(zip(task.roles, images, strict=True))}]


def _cards(
    task: Task, items: Sequence[Item], label: str, name: str, compute: Compute, answers: ScoreAnswers
) -> list[Card]:
    """What one model says. It is loaded, asked and forgotten before the next."""
    from qinsight_cli.core.models.names import for_task

    model = for_task(name, task.folder)
    say(f"model: {label}" if label == model else f"model: {label} ({model})")
    with waiting(f"loading {model}"):
        engine = load(model, compute.device, compute.dtype.value, compute.max_pixels, compute.network)
    for note in getattr(engine, "notes", ()):
        say(note)
    results = assess(task, items, engine, answers.decoding, batch_size=compute.batch_size, seed=answers.seed, say=say)
    return [card_of(task, row_of(task, result, model)) for result in results]


def _check_page(asking: Asking, items: Sequence[Item]) -> None:
    from qinsight_cli.core.output_checks import check_output
    from qinsight_cli.core.report.gallery.write import is_gallery

    check_output(str(asking.html), is_gallery, asking.force, [path for item in items for path in item.values()])


def _write_page(path: str, explained: Sequence[Explained]) -> None:
    from qinsight_cli.core.files import write_atomically
    from qinsight_cli.core.report.gallery.thumbnails import bytes_each, thumbnail

    paths = dict.fromkeys(picture.path for one in explained for picture in one.pictures)
    small = {each: thumbnail(each, bytes_each(len(paths))) for each in paths}
    with write_atomically(path) as file:
        file.write(page("The reasoning side by side", explained, small, folder_of(path)).encode())
    say(f"written to {path}")

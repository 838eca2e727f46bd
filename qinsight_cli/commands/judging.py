"""The steps that score, degrade and compare share: check, load, answer, write, summarise."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from os import environ
from typing import Any, Protocol

import typer

from qinsight_cli.commands import fleet
from qinsight_cli.commands.answers import Answers, read_prompt
from qinsight_cli.commands.console import counted, progress, say, waiting
from qinsight_cli.commands.delivery import Delivery
from qinsight_cli.commands.options import Compute, Judging, Output
from qinsight_cli.commands.remote import Serving
from qinsight_cli.commands.row_counts import UNANSWERED, facts_of, sum_up, unanswered
from qinsight_cli.commands.selection import Showing
from qinsight_cli.core.engines import Decoding, Engine, load
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.inference.assess import Result, Reuse, assess, settings_of
from qinsight_cli.core.inference.cache import OFF_VARIABLE, AnswerCache, scope_of
from qinsight_cli.core.inference.journal import Journal, journal_path
from qinsight_cli.core.inference.prefetch import Item, digests_of, kept_as, key_of
from qinsight_cli.core.output_checks import check_output
from qinsight_cli.core.report.gallery.write import check_gallery
from qinsight_cli.core.report.progress import Advance
from qinsight_cli.core.report.rows import AGREEMENT, Row, columns_of, is_output, row_of, writing
from qinsight_cli.core.tasks import Task

SOME_ROWS_FAILED = 3


def judge(
    task: Task,
    items: Sequence[Item],
    run: Judging,
    more: Sequence[str] = (),
    merge: Callable[[Iterator[Row]], Iterable[Row]] = iter,
    read: Sequence[str] = (),
    showing: Showing | None = None,
) -> Counter[str]:
    """Ask about every item, write the rows, print a summary to stderr.

    more     columns in addition to the task's
    merge    turns several rows into one
    read     other input files of the command
    showing  which rows to show, and in which order
    Returns the counts of `facts_of`.
    """
    if run.fleet.ray is not None:
        return _judge_on_fleet(task, items, run, more, merge, showing)
    _check_outputs(run, [*read, *(path for item in items for path in item.values())], len(items))
    columns = (*columns_of(task, run.answers.decoding.mode == "direct"), *more)
    delivery = Delivery(task, columns, run.output, showing)
    task = task.styled(run.answers.prompt_style.value)
    prompt = _prompt(run, task, items)
    engine = load_engine(run, task)
    decoding = run.compute.options(run.serving).supported(run.answers.decoding, engine.reads_choices, say)
    settings = settings_of(task, engine.identity, decoding, run.answers.seed, prompt)
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(run.output, settings))
        reuse = stack.enter_context(_reuse(task, items, run, settings, journal))
        with _shown(delivery, counts, journal):
            with (
                writing(run.output.csv, run.output.jsonl, columns) as outputs,
                _progress(len(items), run.output) as advance,
            ):
                results = _results(task, items, run, engine, decoding, journal, prompt, reuse)
                model = str(engine.identity.get("model", run.model))
                for row in merge(row_of(task, result, model) for result in _observed(results, advance, counts)):
                    counts.update(facts_of(row))
                    delivery.take(row, outputs)
                delivery.complete(outputs)
            delivery.write_gallery(model, run.max_image_pixels)
        if journal is not None and not counts[UNANSWERED]:
            journal.discard()
    if outputs.failure is not None:
        raise outputs.failure
    sum_up(counts, run.output)
    delivery.sum_up()
    return counts


@contextmanager
def _shown(delivery: Delivery, counts: Counter[str], journal: Journal | None) -> Iterator[None]:
    """Show the rows at the end of the block, also after an error. Ctrl-C adds how many are done, and how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        hint = "" if journal is None else "; run the same command again to resume"
        say(f"interrupted: {counts['rows']} rows done{hint}")
        raise
    finally:
        delivery.show()


def _judge_on_fleet(
    task: Task,
    items: Sequence[Item],
    run: Judging,
    more: Sequence[str],
    merge: Callable[[Iterator[Row]], Iterable[Row]],
    showing: Showing | None,
) -> Counter[str]:
    """As `judge`, on Ray. The rows go to the part files of --out."""
    if showing is not None and showing != type(showing)():
        raise UsageError("--ray writes all rows in no order: leave out --sort, --top, --below, --above and --paths")
    columns = (*columns_of(task, run.answers.decoding.mode == "direct"), *more)
    several = 2 if AGREEMENT in more else 1
    units = [items[start : start + several] for start in range(0, len(items), several)]
    task = task.styled(run.answers.prompt_style.value)
    counts = fleet.judge(task, _prompt(run, task, items), units, run, columns, partial(_row, merge))
    say(f"{counted(counts['rows'], 'new row')}, {counts['errors']} with an error, written to {run.fleet.out}")
    if counts[UNANSWERED]:
        say(unanswered(counts[UNANSWERED]))
    return counts


def _row(
    merge: Callable[[Iterator[Row]], Iterable[Row]], task: Task, results: Sequence[Result], model: str
) -> dict[str, Any]:
    """The results of one unit -> its row. Runs on a worker."""
    return next(iter(merge(iter([row_of(task, result, model) for result in results]))))


def _results(
    task: Task,
    items: Sequence[Item],
    run: Judging,
    engine: Engine,
    decoding: Decoding,
    journal: Journal | None,
    prompt: str | None,
    reuse: Reuse,
) -> Iterator[Result]:
    return assess(
        task,
        items,
        engine,
        decoding,
        batch_size=run.serving.batch_size(run.compute),
        seed=run.answers.seed,
        journal=journal,
        prompt=prompt,
        max_image_pixels=run.max_image_pixels,
        on_interrupt=lambda: say("finishing this batch; Ctrl-C again to stop at once"),
        say=say,
        reuse=reuse,
    )


@contextmanager
def _reuse(
    task: Task, items: Sequence[Item], run: Judging, settings: Mapping[str, Any], journal: Journal | None
) -> Iterator[Reuse]:
    """The cache of answers. Tells the user how many of the items it answers, if any."""
    off = run.output.no_cache or environ.get(OFF_VARIABLE)
    scope = None if off else scope_of(settings, run.max_image_pixels)
    if scope is None:
        yield Reuse(None)
        return
    with AnswerCache(scope, say) as cache:
        if not cache or journal:  # a resumed command has already told how many answers it has
            yield Reuse(cache)
            return
        names = [name for item in items for name in item.values()]
        with progress("pictures read", len(set(names))) as advance:
            digests = digests_of(names, advance)
        readable = [item for item in items if all(name in digests for name in item.values())]
        keys = [kept_as(item, key_of({role: digests[item[role]] for role in task.order(item)})) for item in readable]
        known = [cache.get(key) is not None for key in keys]
        if any(known):
            new = {key for key, is_known in zip(keys, known, strict=True) if not is_known}
            say(f"{sum(known):,} known, {len(new):,} to ask")
        yield Reuse(cache, digests)


def exit_code(counts: Counter[str]) -> None:
    """Raise typer.Exit(3) when some rows have an error."""
    if counts["errors"]:
        raise typer.Exit(SOME_ROWS_FAILED)


def _check_outputs(run: Judging, read: Sequence[str], count: int) -> None:
    """Check the output files, before the model is loaded."""
    inputs = [*read, *([] if run.prompt is None else [str(run.prompt)])]
    for path in run.output.files:
        if path == run.output.html:
            check_gallery(path, count, run.output.force, inputs)
        else:
            check_output(path, is_output, run.output.force, inputs)
    for path in run.output.files[:1]:
        check_output(journal_path(path), inputs=inputs)


def _prompt(run: Judging, task: Task, items: Sequence[Item]) -> str | None:
    """The prompt of --prompt; None for the task's own. Raises QInsightError if it does not fit the items."""
    prompt = read_prompt(run.prompt)
    if prompt is not None:
        for roles in {task.order(item) for item in items}:
            task.messages(roles, prompt)
    return prompt


class ModelRun(Protocol):
    """The options that name a model and say how it runs."""

    @property
    def model(self) -> str: ...
    @property
    def serving(self) -> Serving: ...
    @property
    def compute(self) -> Compute: ...
    @property
    def answers(self) -> Answers: ...


def load_engine(run: ModelRun, task: Task) -> Engine:
    """The engine for a task. Tells the user which model it is."""
    from qinsight_cli.core.models.names import TINY

    options = run.compute.options(run.serving)
    model = options.name_for(run.model, task)
    if run.serving.endpoint:
        say(f"model: {run.model}, served at {', '.join(run.serving.endpoint)}")
    elif run.model == TINY:
        say("model: tiny, a small model that comes with qinsight; the paper's model: --model q-insight")
    else:
        say(f"model: {model}" + ("" if model == run.model else f", the weights of {run.model} for this task"))
    decoding = run.answers.decoding
    if decoding.samples > 1:
        say(f"drawing {decoding.samples} samples at temperature {decoding.temperature:g}")
    with waiting(f"loading {model}"):
        return load(model, options, say)


@contextmanager
def _journal(output: Output, settings: dict[str, Any]) -> Iterator[Journal | None]:
    """The journal of the first output file, if there is one."""
    if not output.files:
        yield None
        return
    with Journal(journal_path(output.files[0]), settings, output.restart) as journal:
        if len(journal):
            say(f"resuming: {len(journal)} answers are in {journal.path}")
        yield journal


def _observed(results: Iterable[Result], advance: Advance, counts: Counter[str]) -> Iterator[Result]:
    """The results. Prints their notes, advances the progress bar, and counts those that no server answered."""
    for result in results:
        counts[UNANSWERED] += result.unanswered
        for note in result.notes:
            say(f"{' '.join(result.images.values())}: {note}")
        advance()
        yield result


def _progress(total: int, output: Output) -> AbstractContextManager[Advance]:
    """A bar on stderr, unless rows are written to the same terminal."""
    if "-" in output.paths and sys.stdout.isatty():
        return nullcontext(lambda: None)
    return progress("images", total)

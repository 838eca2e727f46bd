"""qinsight score: a rating from 1 to 5 and the reasoning, for each picture."""

from __future__ import annotations

import sys

from qinsight_cli.commands import judging
from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.options import Paths, Scoring
from qinsight_cli.commands.selection import ShowingScores
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.tasks import TASKS


@flat
def score(paths: Paths, showing: ShowingScores, run: Scoring) -> None:
    """Rate pictures from 1 (bad) to 5 (excellent), with the reasoning.

    Interrupted and run again with the same output file, it finishes what is left.
    """
    items = [{"image": path} for path in find_images(paths, getattr(sys.stdin, "buffer", None), run.limit, say)]
    task = TASKS["score"]
    judging.exit_code(judging.judge(task, items, run, showing=showing))

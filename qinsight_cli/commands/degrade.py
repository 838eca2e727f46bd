"""qinsight degrade: the distortion of each picture and its severity."""

from __future__ import annotations

import sys

from qinsight_cli.commands import judging
from qinsight_cli.commands.console import say
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.options import Judging, Paths
from qinsight_cli.commands.selection import ShowingDistortions
from qinsight_cli.core.images.find import find_images
from qinsight_cli.core.tasks import TASKS


@flat
def degrade(paths: Paths, showing: ShowingDistortions, run: Judging) -> None:
    """Name the distortion of pictures (noise, blur, compression, darken or none) and its severity.

    After an interruption the same command with the same output file resumes.
    """
    items = [{"image": path} for path in find_images(paths, getattr(sys.stdin, "buffer", None), run.limit, say)]
    task = TASKS["degradation"]
    judging.exit_code(judging.judge(task, items, run, showing=showing))

"""What the programs of this folder share: processes and functions measured in turns, so that a busy machine is fair."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any


def process(
    command: Sequence[str],
    folder: str | Path | None = None,
    stdin: Path | None = None,
    codes: Collection[int] = (0,),
) -> tuple[float, float, int]:
    """Run a command -> (processor seconds of it and its children, seconds on the clock, peak memory in bytes).

    Raises subprocess.CalledProcessError when it ends with another code than `codes`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    given = subprocess.DEVNULL if stdin is None else stdin.open("rb")
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, env=environment
    ) as child:
        assert child.stderr is not None
        words = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if child.returncode not in codes:
        raise subprocess.CalledProcessError(child.returncode, command, stderr=words.decode(errors="replace")[-2000:])
    return usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def processor_seconds() -> float:
    """Of this process so far, and of those it has started and that are still there."""
    import psutil

    me = psutil.Process()
    used = [one.cpu_times() for one in (me, *me.children(recursive=True))]
    return float(sum(times.user + times.system for times in used))


def qinsight(*arguments: object) -> list[str]:
    """A command line of qinsight for this interpreter."""
    start = "import sys; sys.argv[0] = 'qinsight'; from qinsight_cli import cli; cli.main()"
    return [sys.executable, "-c", start, *map(str, arguments)]


def taking_turns(works: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Name -> the least of `repeats` measurements, after one unmeasured round; the works take turns."""
    best = dict.fromkeys(works, float("inf"))
    for turn in range(repeats + 1):
        for name, work in works.items():
            measured = work()
            if turn:
                best[name] = min(best[name], measured)
    return best


def random_model(folder: Path) -> str:
    """The folder, with a network of tiny's size and random weights."""
    from qinsight_cli.core.training.sft.new_model import Shape, build

    build(folder, ["The photo is sharp, and its colours are natural."], Shape(), seed=0)
    return str(folder)


def report(benchmark: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """A table, then one JSON line with the rows, the load of the machine and `more`."""
    shown = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in shown)) for i, column in enumerate(columns)]
    for line in [list(columns), *shown]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps({"benchmark": benchmark, **more, "load_average": load, "rows": list(rows)}))


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)

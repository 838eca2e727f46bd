"""What the benchmarks share: measurements in turns, so that a busy machine slows all sides; real photos; the report."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def option_parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of a benchmark, line by line."""
    return argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)


def real_photos() -> list[Any]:
    """The photos of scikit-image called coffee, astronaut and rocket."""
    import skimage.data
    from PIL import Image

    return [Image.fromarray(load()) for load in (skimage.data.coffee, skimage.data.astronaut, skimage.data.rocket)]


def process(command: Sequence[str], folder: str | Path, stdin: Path | None = None) -> tuple[float, float, int]:
    """Run a command -> (processor seconds with its children, seconds on the clock, peak memory in bytes).

    Raises subprocess.CalledProcessError if it fails.
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
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, stderr=words.decode(errors="replace")[-2000:])
    return usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def processor_seconds() -> float:
    """Processor seconds so far, of this process and of the processes that it started and that still run."""
    import psutil

    me = psutil.Process()
    used = [one.cpu_times() for one in (me, *me.children(recursive=True))]
    return float(sum(times.user + times.system for times in used))


def qinsight(*arguments: object) -> list[str]:
    """A command line of qinsight for this interpreter."""
    start = "import sys; sys.argv[0] = 'qinsight'; from qinsight_cli import cli; cli.main()"
    return [sys.executable, "-c", start, *map(str, arguments)]


def taking_turns(works: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Name -> the least of `repeats` measurements. The works take turns; one round before is not measured."""
    best = dict.fromkeys(works, float("inf"))
    for turn in range(repeats + 1):
        for name, work in works.items():
            measured = work()
            if turn:
                best[name] = min(best[name], measured)
    return best


def least_seconds(work: Callable[[], object], repeats: int) -> float:
    """The least time of `repeats` calls, after one that is not measured."""

    def timed() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return taking_turns({"": timed}, repeats)[""]


def random_model(folder: Path) -> str:
    """Write a network of tiny's size with random weights into the folder. Returns the folder as a model's name."""
    from qinsight_cli.core.training.sft.new_model import Shape, build

    build(folder, ["The photo is sharp, and its colours are natural."], Shape(), seed=0)
    return str(folder)


def compared(what: str, against: str, seconds: float, other: float, reach: float | str) -> dict[str, Any]:
    """The row of a table that sets the seconds of one work against those of another."""
    ratio = seconds / other
    return {"what": what, "against": against, "seconds": seconds, "other": other, "ratio": ratio, "to reach": reach}


def report(benchmark: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Print a table, then one JSON line with the rows, the load of the machine and `more`."""
    columns = list(rows[0])
    shown = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in shown)) for i, column in enumerate(columns)]
    for line in [columns, *shown]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps({"benchmark": benchmark, **more, "load_average": load, "rows": list(rows)}))


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)

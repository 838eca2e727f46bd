"""The report of `qinsight doctor`: versions, devices, memory, models, datasets, extras, and known problems."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from qinsight_cli import __version__
from qinsight_cli.core.bench.availability import prepared, weights_at_hand
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.extras import EXTRAS, install, installed_version
from qinsight_cli.core.inference.cache import OFF_VARIABLE
from qinsight_cli.core.inference.cache_file import MEGABYTE, cache_file, manage
from qinsight_cli.core.models.names import SHORT_NAMES, TINY, TINY_FOLDER, weight_files

PACKAGES = ("torch", "transformers", "trl", "accelerate", "tokenizers", "pillow")
GIGABYTE = 1_000_000_000
LITTLE_MEMORY, LITTLE_DISK = 2 * GIGABYTE, 1 * GIGABYTE
IMPORT_SECONDS = 120.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. `trap` marks what will certainly fail; `remedy` is what to do, if anything."""

    name: str
    state: str
    remedy: str = ""
    trap: bool = False


def examine() -> Iterator[tuple[str, Finding]]:
    """All findings, each with its section. Loads torch; uses no network."""
    for section in (versions, devices, models, datasets, extras, cache, traps):
        for finding in section():
            yield section.__name__, finding


def versions() -> Iterator[Finding]:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Finding("qinsight", f"{__version__}, {system}")
    for package in PACKAGES:
        found = installed_version(package)
        wrong = outside(package)
        if found is None:
            yield Finding(package, "not installed", f"pip install '{package}'", trap=True)
        elif wrong:
            state = f"{found}, but qinsight was tested with {wrong}"
            yield Finding(package, state, f"pip install '{package}{wrong}'", trap=True)
        else:
            yield Finding(package, found)


def outside(package: str) -> str:
    """The range of versions that qinsight requires, if the installed version is not in it; else ""."""
    from packaging.requirements import InvalidRequirement, Requirement

    found = installed_version(package)
    try:
        wanted = [Requirement(line) for line in requires("qinsight") or ()]
    except (PackageNotFoundError, InvalidRequirement):
        return ""
    ranges = [each.specifier for each in wanted if each.name.lower() == package and not each.marker]
    return next((str(each) for each in ranges if found and not each.contains(found, prereleases=True)), "")


def devices() -> Iterator[Finding]:
    import torch

    memory = total_memory()
    state = f"{os.cpu_count()} cores" + (f", {memory / GIGABYTE:.0f} GB memory" if memory else "")
    little = memory is not None and memory < LITTLE_MEMORY
    yield Finding("cpu", state, "tiny needs about 1 GB; give --batch-size 1" if little else "", little)
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        yield Finding(f"cuda:{index}", f"{facts.name}, {facts.total_memory / GIGABYTE:.0f} GB")
    if torch.backends.mps.is_available():
        yield Finding("mps", "Apple GPU")
    if torch.version.cuda and not torch.cuda.is_available():
        state = f"torch is built for CUDA {torch.version.cuda}, but no GPU can be used"
        remedy = "check nvidia-smi and the driver; without a GPU the CPU build of torch is 4 GB smaller"
        yield Finding("cuda", state, remedy)
    free = shutil.disk_usage(".").free
    short = free < LITTLE_DISK
    yield Finding("disk", f"{free / GIGABYTE:.0f} GB free here", "free some space" if short else "", short)


def total_memory() -> int | None:
    """Bytes of memory; None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def models() -> Iterator[Finding]:
    try:
        broken = [path.name for path in weight_files(TINY_FOLDER) if not path.is_file()]
    except QInsightError as error:
        broken = [str(error)]
    state = f"its weights are missing: {broken[0]}" if broken else "comes with qinsight"
    yield Finding(TINY, state, "install qinsight again" if broken else "", bool(broken))
    for name in SHORT_NAMES:
        state = weights_at_hand(name)
        if state == "yes":
            yield Finding(name, "in the hub's cache")
        else:
            remedy = f"downloaded at first use, or with: hf download {SHORT_NAMES[name].partition(':')[0]}"
            yield Finding(name, state.removeprefix("no: "), remedy)


def datasets() -> Iterator[Finding]:
    try:
        there, missing = prepared()
    except QInsightError as error:
        yield Finding("data/", str(error), "prepare it again", trap=True)
        return
    yield Finding("prepared", ", ".join(there) or "none under data/")
    if missing:
        yield Finding("not prepared", ", ".join(missing), "qinsight prepare NAME SOURCE, if you need them")


def extras() -> Iterator[Finding]:
    for name, extra in EXTRAS.items():
        missing = extra.missing
        state = f"{'not installed' if missing else 'installed'}: {extra.purpose}"
        yield Finding(name, state, install(name) if missing else "")


def cache() -> Iterator[Finding]:
    if os.environ.get(OFF_VARIABLE):
        yield Finding("answers", f"off, by {OFF_VARIABLE}")
        return
    try:
        facts = manage()
    except QInsightError as error:
        state, _, remedy = str(error).rpartition("; ")
        yield Finding("answers", state, remedy, trap=True)
        return
    yield Finding("answers", f"{facts.answers:,}, {facts.size / MEGABYTE:.1f} MB in {cache_file()}")


def traps() -> Iterator[Finding]:
    """Known problems of an environment."""
    if shutil.which("qinsight") is None:
        folder = Path(sys.executable).parent
        remedy = f"source {folder / 'activate'}, or call {folder / 'qinsight'}"
        yield Finding("command", "the command qinsight is not on PATH", remedy)
    failure = torchvision_failure()
    if failure:
        state = f"it does not match this torch and breaks transformers: {failure}"
        remedy = "pip uninstall torchvision (qinsight does not need it), or install the build that matches torch"
        yield Finding("torchvision", state, remedy, trap=True)


def torchvision_failure() -> str:
    """Why torchvision cannot be imported with this torch; "" if it can, or is not installed."""
    if installed_version("torchvision") is None:
        return ""
    # In another process, because a failed import leaves some of torchvision's operators registered.
    command = [sys.executable, "-c", "import torchvision"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=IMPORT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")

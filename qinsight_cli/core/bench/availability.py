"""How each row of the paper's tables can be measured here, and whether it can run now."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from qinsight_cli.core.bench import datasets
from qinsight_cli.core.bench.paper import TABLES
from qinsight_cli.core.bench.systems import psnr_ssim
from qinsight_cli.core.bench.systems.metric import BASELINES, KONIQ
from qinsight_cli.core.data.card import CARD, read_card
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.names import resolve

BY_PREDICTIONS = "from its answers: --predictions {row}=FILE.csv"
NEEDS_RUN = "no: needs a training run"
# Row -> how to measure it, and the model whose weights it needs.
RELEASED = {
    "Q-Insight": ("--model Q-Insight=q-insight", "q-insight"),
    "Q-Insight (Joint-Training)": ("--model q-insight", "q-insight"),
    "Q-Insight (Zero-Shot)": ("--model q-insight", "q-insight"),
    "Q-Insight (Trained)": ("--model q-insight:comparison", "q-insight:comparison"),
}
# Row without released weights that qinsight can load -> how to measure it, and whether that can run now.
UNRELEASED = {
    "Qwen-SFT": (
        "fine-tune qwen2.5-vl-7b on koniq with qinsight train --algorithm sft, then --model Qwen-SFT=FOLDER",
        NEEDS_RUN,
    ),
    "DeQA": (
        f"--model DeQA=deqa:FOLDER for a Qwen2.5-VL checkpoint, or {BY_PREDICTIONS.format(row='DeQA')}",
        "no: needs a checkpoint",
    ),
    "AgenticIR": (
        "its protocol with any model: --protocol sequential --model AgenticIR=NAME, or "
        f"{BY_PREDICTIONS.format(row='AgenticIR')}",
        "yes (with tiny)",
    ),
}
_PROBE = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('pyiqa') and u.find_spec('torchvision') else 3)"


@dataclass(frozen=True)
class Entry:
    """One row of one table: `how` to measure it, and `ready`: "yes", or "no: " and why."""

    table: str
    row: str
    how: str
    ready: str


def entries(python: str | None = None) -> Iterator[Entry]:
    """All rows, table by table. `python` is the interpreter that should have pyiqa."""
    interpreter = python or sys.executable
    for table in TABLES:
        for row in dict.fromkeys(line.method for line in table.published()):
            how, ready = _entry(table.number, row, interpreter)
            yield Entry(table.name, row, how, ready)
        yield Entry(table.name, "tiny", "--model tiny (comes with qinsight)", "yes")


def _entry(table: str, row: str, python: str) -> tuple[str, str]:
    baseline = next((each for each in BASELINES if each.row == row), None)
    if baseline is not None:
        trained = baseline.trained_on
        note = f", trained on {trained}" if trained not in ("", KONIQ) else ""
        if baseline.name in psnr_ssim.METRICS:
            return f"--metric {baseline.name} (scikit-image)", "yes"
        return f"--metric {baseline.name} (pyiqa{note})", _pyiqa(python)
    if row in RELEASED:
        how, model = RELEASED[row]
        return how, weights_at_hand(model)
    if row in UNRELEASED:
        return UNRELEASED[row]
    if table == "B":
        return f'its training run (qinsight bench --grid epsilon), then --row "{row}=FOLDER"', NEEDS_RUN
    if "Only" in row:
        recipe = f"paper-{row.partition('(')[2].rstrip(')').lower()}"  # Score-Only, Degradation-Only
        return f"qinsight train --recipe {recipe}, then --model LABEL=FOLDER", NEEDS_RUN
    return BY_PREDICTIONS.format(row=row), "no: needs a predictions file"


@cache
def _pyiqa(python: str) -> str:
    try:
        done = subprocess.run([python, "-c", _PROBE], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return f"no: {python} cannot be run"
    if done.returncode == 0:
        return "yes (pyiqa downloads weights at first use)"
    where = "this environment" if python == sys.executable else python
    return f"no: {where} has no pyiqa; name an interpreter that has it with --baselines-python"


@cache
def weights_at_hand(model: str) -> str:
    """Whether the hub's cache has a model. It looks for the configuration, which is downloaded with the weights."""
    from huggingface_hub import try_to_load_from_cache

    try:
        where = resolve(model)
    except QInsightError as error:
        return f"no: {error}"
    file = f"{where.subfolder}/config.json" if where.subfolder else "config.json"
    found = try_to_load_from_cache(where.repo, file, revision=where.revision)
    return "yes" if isinstance(found, str) else f"no: the weights of {where.repo} are not in the hub's cache"


def prepared() -> tuple[list[str], list[str]]:
    """The names of the datasets prepared under data/, and of the paper's datasets that are not."""
    there = {str(read_card(card.parent).get("name")) for card in datasets.DATA.glob(f"*/{CARD}")}
    wanted = dict.fromkeys(name for table in TABLES for name in table.datasets)
    return sorted(there), [name for name in wanted if name not in there]

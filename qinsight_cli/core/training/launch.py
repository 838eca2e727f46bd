"""The start of a run in several processes by Accelerate, with a shipped configuration or the user's own."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import yaml

from qinsight_cli.core.errors import QInsightError, UsageError
from qinsight_cli.core.extras import require
from qinsight_cli.core.training.shipped import find_yaml, names_in

FOLDER = Path(__file__).with_name("launch_configs")
AUTO = "auto"


def names() -> list[str]:
    """The shipped configurations."""
    return names_in(FOLDER)


def config_file(name: str) -> Path:
    """A shipped configuration by its name, or a YAML file.

    Raises QInsightError if there is no such file, or if it needs DeepSpeed and that is not installed.
    """
    path = find_yaml(FOLDER, name, "--launch: no configuration", "configurations")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = content.get("distributed_type")
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError, AttributeError) as error:
        raise QInsightError(f"--launch: {path} is not a configuration of Accelerate") from error
    if kind == "DEEPSPEED":
        require("deepspeed", f"--launch {name}")
    return path


def count(processes: str) -> int:
    """The value of --processes as a number; auto is the number of visible GPUs. Raises UsageError for other words."""
    if processes != AUTO:
        if not processes.isdecimal() or int(processes) < 1:
            raise UsageError(f"--processes {processes!r} is neither a number of processes nor auto")
        return int(processes)
    import torch

    visible = torch.cuda.device_count()
    if not visible:
        raise UsageError("--processes auto: no GPU is visible here; give a number")
    return visible


def launch(arguments: Sequence[str], processes: int, config: Path) -> int:
    """Run `qinsight ARGUMENTS` in several processes. Returns the exit code of the first that failed, or 0.

    Raises QInsightError for a configuration that divides a model where there is no GPU.
    """
    _check_divided(config)
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # The failed process has printed the reason; the launcher would add a long trace.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    given = launch_command_parser().parse_args(
        [
            *("--config_file", str(config), "--num_processes", str(processes)),
            *("--main_process_port", str(_free_port()), "-m", "qinsight_cli", *arguments),
        ]
    )
    try:
        launch_command(given)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    return 0


def _check_divided(config: Path) -> None:
    """Without a GPU Accelerate leaves FSDP and DeepSpeed out, and says nothing."""
    import torch

    divided = yaml.safe_load(config.read_text(encoding="utf-8")).get("distributed_type") in ("FSDP", "DEEPSPEED")
    if divided and not torch.accelerator.is_available():
        raise QInsightError(
            f"--launch {config.stem} divides a model among GPUs, and none is visible here: leave --launch out, and "
            "each process has a copy"
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""Training in two CPU processes, as a launcher would start it from one of the shipped configurations of Accelerate.

As a program (`python tests/processes.py train ...`) it is `qinsight`, but Accelerate takes FSDP and DeepSpeed on a CPU
too, where it would leave them out. Variables of its environment change it further:

TRL_ROLLOUTS      rollouts are TRL's without FSDP and DeepSpeed as well, so that all draw the same completions
STOP_AFTER        end before the update after this one, as a killed run would
RECORD_LOG_PROBS  a folder for what the trainer asks of policy and reference, and the log-probabilities that it gets
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATIENCE = 900.0  # seconds; machines that test are busy
RANKS = ("0", "1")
SERVE = "serve"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def launch_environment(config: Path) -> dict[str, str]:
    """What `accelerate launch --config_file CONFIG` sets besides the environment of this process."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    given = launch_command_parser().parse_args(["--config_file", str(config), "--num_processes", "2", "script.py"])
    given, defaults, _ = _validate_launch_command(given)
    if given.use_deepspeed:
        given.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, found = prepare_deepspeed_cmd_env(given)
    else:
        found = prepare_multi_gpu_env(given)
    return {name: value for name, value in found.items() if os.environ.get(name) != value and name != "PYTHONPATH"}


def run_two(arguments: Sequence[Any], environment: dict[str, str] | None = None) -> list[str]:
    """Two processes of this program, with what torchrun sets; the stdout of each. Fails unless both end well."""
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "arguments": [str(each) for each in arguments],
            "environment": {**os.environ, **(environment or {}), **shared},
        }
        codes = _ask(json.dumps({**job, "folder": folder, "cwd": os.getcwd()}))
        out, errors = ([Path(folder, f"{name}-{rank}").read_text() for rank in RANKS] for name in ("out", "err"))
    assert codes == [0, 0], errors[0][-3000:] + errors[1][-3000:]
    return out


def _ask(job: str) -> list[int]:
    """The exit codes of the processes of a job."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    late = threading.Timer(PATIENCE, os.killpg, (server.pid, signal.SIGKILL))
    late.start()
    try:
        print(job, file=server.stdin, flush=True)
        return list(json.loads(server.stdout.readline()))
    finally:
        late.cancel()


@functools.cache
def _server() -> subprocess.Popen[str]:
    """A process that has imported what training needs, which takes longer than the small runs of the tests; the
    processes of a run are forks of it."""
    server = subprocess.Popen(
        [sys.executable, __file__, SERVE],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(server.communicate)  # closes its input, with which it ends
    return server


def serve() -> None:
    """Read a job a line, run its two processes, and print their exit codes. Returns in these processes alone."""
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor  # noqa: F401

    import qinsight_cli.core.training.grpo.recorder
    import qinsight_cli.core.training.sft.trainers  # noqa: F401

    for line in sys.stdin:
        job = json.loads(line)
        running = {}
        for rank in RANKS:
            child = os.fork()
            if not child:
                return _become(job, rank)
            running[child] = rank
        codes = {}
        while running:
            child, status = os.wait()
            codes[running.pop(child)] = os.waitstatus_to_exitcode(status)
            if status:  # the other would wait for it
                for other in running:
                    os.kill(other, signal.SIGKILL)
        print(json.dumps([codes[rank] for rank in RANKS]), flush=True)
    sys.exit()


def _become(job: dict[str, Any], rank: str) -> None:
    os.environ.update(job["environment"], OMP_NUM_THREADS="1", RANK=rank, LOCAL_RANK=rank)
    os.chdir(job["cwd"])
    sys.argv[1:] = job["arguments"]
    names = (os.devnull, f"{job['folder']}/out-{rank}", f"{job['folder']}/err-{rank}")
    for number, name in enumerate(names):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)


def shard_on_cpu() -> None:
    """Let Accelerate's state take its FSDP and DeepSpeed plugins on a CPU, as it does on GPUs."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled first
    original = AcceleratorState.__init__

    def start(self: Any, *arguments: Any, **settings: Any) -> None:
        original(self, *arguments, **settings)
        fsdp, zero = settings.get("fsdp_plugin"), settings.get("deepspeed_plugin")
        if self.distributed_type is not DistributedType.MULTI_CPU or not (fsdp or zero):
            return
        self.distributed_type = DistributedType.FSDP if fsdp else DistributedType.DEEPSPEED
        if fsdp and self._mixed_precision != "no":
            fsdp.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp
        if zero:
            zero.set_mixed_precision(self._mixed_precision)
            zero.select(_from_accelerator_state=True)
            self.deepspeed_plugins, self._mixed_precision = zero, "no"
        PartialState._shared_state["distributed_type"] = self.distributed_type

    AcceleratorState.__init__ = start  # type: ignore[method-assign]


def record_log_probs(folder: Path) -> None:
    import torch

    from qinsight_cli.core.training.grpo.trainer import MultiTaskTrainer

    original, count = MultiTaskTrainer._get_per_token_logps_and_entropies, 0

    def recording(self: Any, model: Any, *arguments: Any, **settings: Any) -> Any:
        nonlocal count
        found = original(self, model, *arguments, **settings)
        asked = {"arguments": arguments, "settings": settings, "log_probs": found[0].detach()}
        asked |= {"step": self.state.global_step, "reference": model is self.ref_model}
        torch.save(asked, folder / f"{os.environ['RANK']}-{count:03d}.pt")
        count += 1
        return found

    MultiTaskTrainer._get_per_token_logps_and_entropies = recording  # type: ignore[method-assign]


def stop_after(update: int) -> None:
    from transformers import Trainer

    original = Trainer.training_step

    def step(self: Any, *arguments: Any, **settings: Any) -> Any:
        if self.state.global_step == update:
            os._exit(0)
        return original(self, *arguments, **settings)

    Trainer.training_step = step  # type: ignore[method-assign]


def changed() -> None:
    """Make the changes that the environment asks for."""
    shard_on_cpu()
    if "TRL_ROLLOUTS" in os.environ:
        from qinsight_cli.core.training.grpo import trainer

        trainer.OWN_LOOP = ()
    if "STOP_AFTER" in os.environ:
        stop_after(int(os.environ["STOP_AFTER"]))
    if "RECORD_LOG_PROBS" in os.environ:
        record_log_probs(Path(os.environ["RECORD_LOG_PROBS"]))


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    from qinsight_cli.cli import main

    changed()
    main()

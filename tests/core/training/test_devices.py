"""Several visible GPUs and one process: one is used, and the way to all is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import TrainingArguments

from qinsight_cli.core.training.devices import use_one_device


def test_one_of_several_gpus_is_used_and_the_way_to_all_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=4)
    assert arguments.n_gpu <= 1
    use_one_device(arguments)
    assert capsys.readouterr().err == ""
    arguments._n_gpu = 4  # what transformers finds where four GPUs are visible
    assert arguments.train_batch_size == 16
    use_one_device(arguments)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 4
    told = capsys.readouterr().err
    assert "4 GPUs are visible and one is used" in told
    assert "--processes auto uses all of them" in told

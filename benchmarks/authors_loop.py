"""The loop of the authors' demo (src/eval/demo_score.py in bytedance/Q-Insight): one picture, one `generate`.

It has the authors' settings, but decodes greedily, so that answers can be compared. The prompt is that of Table A, as
in qinsight. Run as a program, it reads one path a line from standard input and writes one JSON text a line.
`in_process` starts it so: then the two sides of a benchmark share neither memory nor threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qinsight_cli.core.engines import AUTHORS_DECODING
from qinsight_cli.core.models.processor import load_processor
from qinsight_cli.core.tasks import TASKS


def load(folder: Path, device: str, dtype: Any) -> tuple[Any, Any]:
    """Network and processor as transformers loads them, without the speed-ups of qinsight."""
    from transformers import AutoModelForImageTextToText

    from qinsight_cli.core.models.conv_tower import register

    register()
    network = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return network.to(device).eval(), load_processor(folder)


def answerer(
    network: Any, processor: Any, tokens: int = AUTHORS_DECODING.max_new_tokens, exactly: bool = False
) -> Callable[[str], str]:
    """A function from the path of a picture to the model's text: at most `tokens` tokens, or with `exactly` that
    many."""
    import torch
    from PIL import Image

    text = processor.apply_chat_template(TASKS["score"].messages(("image",)), add_generation_prompt=True)
    least = {"min_new_tokens": tokens} if exactly else {}

    def answer(path: str) -> str:
        picture = Image.open(path).convert("RGB")
        inputs = processor(text=[text], images=[picture], padding=True, return_tensors="pt").to(network.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(network.dtype)
        with torch.inference_mode():
            written = network.generate(**inputs, use_cache=True, do_sample=False, max_new_tokens=tokens, **least)
        trimmed = written[:, inputs["input_ids"].shape[1] :]
        return processor.batch_decode(trimmed, skip_special_tokens=True, clean_up_tokenization_spaces=False)[0]

    return answer


@contextmanager
def in_process(model: str, threads: int) -> Iterator[Callable[[Sequence[str]], list[str]]]:
    """A function from paths to texts: the loop runs in its own process, in float32 on the CPU."""
    command = [sys.executable, __file__, model, str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        paths_to, texts_from = child.stdin, child.stdout
        assert paths_to is not None
        assert texts_from is not None

        def answer(paths: Sequence[str]) -> list[str]:
            texts = []
            for path in paths:
                paths_to.write(f"{path}\n")
                paths_to.flush()
                texts.append(json.loads(texts_from.readline()))
            return texts

        yield answer
        paths_to.close()


def main() -> None:
    import torch

    from qinsight_cli.core.models.names import locate

    torch.set_num_threads(int(sys.argv[2]))
    answer = answerer(*load(locate(sys.argv[1]), "cpu", torch.float32))
    for line in sys.stdin:
        print(json.dumps(answer(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()

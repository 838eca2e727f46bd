"""A program for an interpreter with an older transformers: what the stock class makes of a model folder and a picture.

    python tests/stock_transformers.py FOLDER PICTURE TEXT OUT

writes the ids, the pixels, the logits and 16 greedy tokens to OUT, an .npz file.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
import transformers
from PIL import Image

WORDS = 16


def main(folder: str, picture: str, text: str, out: str) -> None:
    kind = transformers.Qwen2_5_VLForConditionalGeneration
    network, report = kind.from_pretrained(folder, torch_dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"], report
    assert not report["unexpected_keys"], report
    processor = transformers.AutoProcessor.from_pretrained(folder, use_fast=False)
    content = [{"type": "image"}, {"type": "text", "text": text}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=[prompt], images=[Image.open(picture)], return_tensors="pt")
    with torch.inference_mode():
        logits = network(**inputs).logits
        written = network.generate(**inputs, max_new_tokens=WORDS, do_sample=False, repetition_penalty=1.0)
    np.savez(
        out,
        ids=inputs["input_ids"].numpy(),
        pixels=inputs["pixel_values"].numpy(),
        logits=logits.numpy(),
        written=written[:, inputs["input_ids"].shape[1] :].numpy(),
        version=np.array(transformers.__version__),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

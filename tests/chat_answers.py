"""The answers of the chat server: an engine's completions in the format of OpenAI-compatible servers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from qinsight_cli.core.engines import Decoding, Request

STOP = "</answer>"


def addresses(body: dict[str, Any]) -> list[str]:
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def completion(engine: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The response of a server around an engine."""
    pictures = [_opened(address) for address in addresses(body)]
    request = Request(_messages(body), tuple(pictures), body.get("seed", 0))
    if body["max_tokens"] == 1:
        found = log_probabilities(engine, request, "ok", body["top_logprobs"]) if body.get("logprobs") else None
        return _response([("ok", "stop", found)], 1, 1)
    decoding = Decoding(
        max_new_tokens=body["max_tokens"],
        samples=body.get("n", 1),
        temperature=body["temperature"],
        top_p=body.get("top_p", 1.0),
        top_k=body.get("top_k", 0),
    )
    (drawn,) = engine.generate(engine.prepare([request]), decoding)
    choices = []
    for each in drawn:
        found = log_probabilities(engine, request, each.text, body["top_logprobs"]) if body.get("logprobs") else None
        text = each.text.removesuffix(STOP) if STOP in body.get("stop", ()) else each.text  # as servers do
        choices.append((text, each.finish_reason, found))
    return _response(choices, drawn[0].prompt_tokens, sum(each.completion_tokens for each in drawn))


def _response(choices: Sequence[tuple[str, str, Any]], prompt_tokens: int, tokens: int) -> dict[str, Any]:
    return {
        "id": "chat-1",
        "object": "chat.completion",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": reason,
                "logprobs": None if found is None else {"content": found},
            }
            for index, (text, reason, found) in enumerate(choices)
        ],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "total_tokens": prompt_tokens + tokens},
    }


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """As `Task.messages` makes them."""
    messages = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages.append(
            {
                "role": message["role"],
                "content": [{"type": "image"} if part["type"] == "image_url" else part for part in parts],
            }
        )
    return messages


def _opened(address: str) -> Image.Image:
    """As plainly as servers do it."""
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


def log_probabilities(engine: Any, request: Request, text: str, alternatives: int) -> list[dict[str, Any]] | None:
    """Each token of a text with its likeliest alternatives, in the form of the API, from one pass over the network."""
    if not hasattr(engine, "_network"):
        return None
    import torch

    from qinsight_cli.core.engines.generate import pad_prompts

    tokenizer, network = engine._tokenizer, engine._network
    written = tokenizer(text)["input_ids"]
    prompt = engine.prepare([request]).prompts
    ids = [*prompt.input_ids[0].tolist(), *written]
    whole = pad_prompts(network, [ids], prompt.pixels, prompt.grids, tokenizer.pad_token_id)
    with torch.inference_mode():
        logits = network(
            input_ids=whole.input_ids,
            attention_mask=whole.mask,
            position_ids=whole.positions,
            pixel_values=whole.pixels,
            image_grid_thw=whole.grids,
            logits_to_keep=len(written) + 1,
        ).logits[0, :-1]
    likely = logits.float().log_softmax(dim=1)
    found = []
    for row, token in zip(likely, written, strict=True):
        best = row.topk(min(alternatives, len(row)))
        tops = [_entry(tokenizer, i, p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        found.append({**_entry(tokenizer, token, row[token].item()), "top_logprobs": tops})
    return found


def _entry(tokenizer: Any, token: int, log_probability: float) -> dict[str, Any]:
    return {"token": tokenizer.decode([token]), "logprob": log_probability, "bytes": None}

"""The chat API of OpenAI-compatible servers: a request -> the fields of one call, a response -> completions."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from qinsight_cli.core.engines import Completion, Decoding, Request
from qinsight_cli.core.images.sending import media_type
from qinsight_cli.core.tasks.choices import Choices

STOP, OPEN = "</answer>", "<answer>"
ALTERNATIVES = 20  # top logprobs per token, the most that the API allows
LARGEST_SEED = (1 << 31) - 1  # every server accepts 31 bits


class UnusableResponse(Exception):
    """The response is no chat completion, or an empty one."""


def call_of(request: Request, decoding: Decoding, model: str, samples: int) -> dict[str, Any]:
    """The arguments of `chat.completions.create`; pictures are data URIs of the request's files, in order."""
    fields: dict[str, Any] = {
        "model": model,
        "messages": messages_of(request),
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_new_tokens,
        "seed": request.seed & LARGEST_SEED,
        "stop": [STOP],
        "n": samples,
    }
    if decoding.top_k > 0:
        fields["extra_body"] = {"top_k": decoding.top_k}  # not in OpenAI's API, but servers of open models accept it
    if request.choices is not None:
        fields |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
    return fields


def messages_of(request: Request) -> list[dict[str, Any]]:
    files = iter(request.files)
    messages = []
    for message in request.messages:
        parts = [picture_part(next(files)) if part["type"] == "image" else part for part in message["content"]]
        plain = len(parts) == 1 and parts[0]["type"] == "text"  # some servers accept only text as the system prompt
        messages.append({"role": message["role"], "content": parts[0]["text"] if plain else parts})
    return messages


def picture_part(file: bytes) -> dict[str, Any]:
    address = f"data:{media_type(file)};base64,{base64.b64encode(file).decode()}"
    return {"type": "image_url", "image_url": {"url": address}}


def completions_of(response: Any, choices: Choices | None) -> list[Completion]:
    """The completions of one response, at least one. Raises UnusableResponse."""
    try:
        written = [_written(each) for each in response.choices]
        usage = response.usage
        prompt_tokens = int(getattr(usage, "prompt_tokens", 0) or 0)
        tokens = int(getattr(usage, "completion_tokens", 0) or 0)
        probabilities = [read_probabilities(each, choices) for each in response.choices] if choices else []
    except (AttributeError, TypeError, ValueError, IndexError, KeyError):
        raise UnusableResponse("its response is no chat completion") from None
    if not written:
        raise UnusableResponse("its response holds no completion")
    if not all(text.strip() for text, _ in written):
        raise UnusableResponse("it gave an empty answer")
    # A response counts the tokens of all its completions together, and a row shows their sum.
    counts = [tokens - (len(written) - 1) * (tokens // len(written)), *[tokens // len(written)] * (len(written) - 1)]
    rows = zip(written, counts, probabilities or [None] * len(written), strict=True)
    return [Completion(text, prompt_tokens, count, reason, found) for (text, reason), count, found in rows]


def _written(choice: Any) -> tuple[str, str]:
    """The text and why it ended. Servers leave out the stop text, so a closed answer gets its tag back."""
    text = choice.message.content or ""
    if not isinstance(text, str):
        raise TypeError("the content is not text")
    before, stop, _ = text.partition(STOP)
    reason = "length" if choice.finish_reason == "length" else "stop"
    # A server with `stop_reason` also says if an end-of-text token ended the answer early.
    at_tag = getattr(choice, "stop_reason", STOP) == STOP
    closed = bool(stop) or (reason == "stop" and OPEN in before and at_tag)
    return before + (STOP if closed else ""), reason


def read_probabilities(choice: Any, choices: Choices) -> tuple[float, ...] | None:
    """The probabilities of the texts of `choices.answers`, in order; None if the completion has no place for them.

    A server gives the likeliest alternatives of each token that it wrote. The probabilities of texts that start with
    the written tokens are exact. The probability of an alternative ("4", where 3.7 was written) is shared equally among
    the texts that begin with it and are as long as the written one (4.0 to 4.9).
    """
    content = getattr(choice.logprobs, "content", None)
    if not content:
        return None
    whole = "".join(entry.token for entry in content)
    start = choices.place(whole) if choices.place else None
    if start is None:
        return None
    texts = list(choices.answers)
    length = next((len(text) for text in texts if whole.startswith(text, start)), 0)
    shares = dict.fromkeys(texts, 0.0)
    end, reached = 0, 1.0
    for entry in content:
        begin, end = end, end + len(entry.token)
        if end <= start:
            continue
        before, lead = whole[start:begin] if begin > start else "", whole[begin:start]
        for token, probability in _alternatives(entry):
            if not token.startswith(lead):
                continue
            said = before + token[len(lead) :]
            if token != entry.token or _meant(said, texts, length, whole=True):
                _share(shares, _meant(said, texts, length), reached * probability)
        if _meant(before + entry.token[len(lead) :], texts, length, whole=True):
            break
        reached *= _probability(entry)
    return tuple(shares.values())


def _alternatives(entry: Any) -> list[tuple[str, float]]:
    """(token, probability) of the alternatives and of the written token."""
    found = {each.token: _probability(each) for each in entry.top_logprobs or ()}
    return list((found | {entry.token: _probability(entry)}).items())


def _probability(entry: Any) -> float:
    return math.exp(min(0.0, entry.logprob))


def _meant(said: str, texts: Sequence[str], length: int, whole: bool = False) -> list[str]:
    """The texts that `said` starts with; if there is none and not `whole`, the texts of this length that start with
    `said`."""
    spelled = [text for text in texts if said.startswith(text)]
    if spelled or whole or not said:
        return spelled
    return [text for text in texts if text.startswith(said) and len(text) == (length or len(text))]


def _share(shares: dict[str, float], texts: Sequence[str], probability: float) -> None:
    for text in texts:
        shares[text] += probability / len(texts)

"""What the tasks share: the `Task` record, the system prompt, the completion parser, the format reward.

A completion is `<think> reasoning </think><answer> answer </answer>`. One parser serves the rewards of
training and the reading of answers at inference, so training pays for exactly what `qinsight score` can read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Table A, "System Prompt", to the letter.
SYSTEM_PROMPT = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
    "respectively, i.e., <think> reasoning process here </think><answer> answer here </answer>."
)

IMAGE = {"type": "image"}


@dataclass(frozen=True)
class ParseFailure:
    """Why a completion could not be read. `kind` is one word for counting, `detail` is for a person."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class Task:
    """What the model is asked, and what an answer is worth.

    name       as in manifests and on the command line
    roles      images that must be there, in the order in which the model sees them
    optional   roles that may come first in that order (the reference of a comparison)
    content    present roles -> user content: text parts and one bare image part per image
    parse      completion text -> answer dataclass or ParseFailure; never raises
    rewards    completion text, truth -> {reward name: 0.0 or 1.0}, Eq. 3-5 and 7 and the format reward
    weights    reward name -> its weight in the overall reward, Eq. 6 and 8
    truth      manifest row -> answer dataclass; raises QInsightError naming the bad field
    answer     answer dataclass -> the text that belongs between the answer tags
    fields     answer dataclass -> {column: value}
    """

    name: str
    roles: tuple[str, ...]
    content: Callable[[tuple[str, ...]], list[dict[str, str]]]
    parse: Callable[[str], Any]
    rewards: Callable[[str, Any], dict[str, float]]
    weights: Mapping[str, float]
    truth: Callable[[Mapping[str, Any]], Any]
    answer: Callable[[Any], str]
    fields: Callable[[Any], dict[str, Any]]
    optional: tuple[str, ...] = ()

    def messages(self, roles: tuple[str, ...], prompt: str | None = None) -> list[dict[str, Any]]:
        """The conversation for the given image roles. `prompt` replaces the words of Table A (images come first)."""
        content = self.content(roles) if prompt is None else [IMAGE] * len(roles) + [text(prompt)]
        return [{"role": "system", "content": [text(SYSTEM_PROMPT)]}, {"role": "user", "content": content}]

    def order(self, images: Mapping[str, Any]) -> tuple[str, ...]:
        """The roles present in `images`, in the order in which the model sees them."""
        return tuple(role for role in (*self.optional, *self.roles) if images.get(role) is not None)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


_TAG = re.compile(r"</?(?:think|answer)>")
_LAYOUT = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_FENCE_LANGUAGE = re.compile(r"[A-Za-z]*[ \t\r]*\n|json\b", re.IGNORECASE)
_JSON_LIKE = re.compile(r"\{[^{}]*\}")
# One `key: value` pair: the key quoted or bare, the value a quoted string or a bare word.
_PAIR = re.compile(r"""\s*(["']?)([A-Za-z_]\w*)\1\s*:\s*(?:"([^"]*)"|'([^']*)'|([^\s,{}"']+))\s*(?:,|$)""")


def split_completion(completion: str) -> tuple[str, str] | ParseFailure:
    """Completion -> (reasoning, text between the answer tags), both stripped; a missing <think> gives ''."""
    opened, closed = completion.count("<answer>"), completion.count("</answer>")
    if opened == 0:
        return ParseFailure("no_answer", "the model wrote no <answer> tag")
    if opened > 1 or closed > 1:
        return ParseFailure("several_answers", "the model wrote more than one answer")
    if closed == 0:
        return ParseFailure("truncated", "the answer has no end; raise --max-new-tokens")
    before, _, rest = completion.partition("<answer>")
    inner, tag, _ = rest.partition("</answer>")
    if not tag:
        return ParseFailure("no_answer", "</answer> stands before <answer>")
    reasoning = before.partition("<think>")[2] if "<think>" in before else before
    return _TAG.sub("", reasoning).strip(), unfence(inner)


def unfence(answer: str) -> str:
    """The answer without surrounding space and without a Markdown code fence."""
    answer = answer.strip()
    if len(answer) < 6 or not (answer.startswith("```") and answer.endswith("```")):
        return answer
    body = answer[3:-3]
    language = _FENCE_LANGUAGE.match(body)
    return body[language.end() if language else 0 :].strip()


def read_object(answer: str) -> dict[str, str | None] | ParseFailure:
    """A flat JSON-like object -> {key: text, or None for null}. Reads quoted or bare keys and values, in any order."""
    if not _JSON_LIKE.fullmatch(answer):
        return ParseFailure("bad_json", f"the answer is not one flat JSON object: {shorten(answer)}")
    found: dict[str, str | None] = {}
    body, position = answer[1:-1].strip(), 0
    while position < len(body):
        pair = _PAIR.match(body, position)
        if not pair:
            return ParseFailure("bad_json", f"the answer is not readable JSON: {shorten(answer)}")
        key = pair.group(2).lower()
        if key in found:
            return ParseFailure("several_answers", f'the key "{key}" stands twice')
        value = next(group for group in pair.groups()[2:] if group is not None).strip()
        found[key] = None if value.lower() == "null" else value
        position = pair.end()
    return found


def format_reward(completion: str, json_like: bool = True) -> float:
    """r_fmt of Sec. 3.3: 1.0 when the tags enclose reasoning and answer, once each and in order, else 0.0.

    With `json_like` the answer must also begin with "{", end with "}" and hold no other brace. Space, newlines
    and a code fence inside the tags are layout and cost nothing.
    """
    layout = _LAYOUT.fullmatch(completion)
    if not layout or len(_TAG.findall(completion)) != 4:
        return 0.0
    return float(not json_like or bool(_JSON_LIKE.fullmatch(unfence(layout.group(2)))))


def completion_of(reasoning: str, answer: str) -> str:
    """The completion that says this, in the layout of the system prompt."""
    return f"<think> {reasoning} </think><answer> {answer} </answer>"


def shorten(words: str, limit: int = 80) -> str:
    words = " ".join(words.split())
    return repr(words if len(words) <= limit else words[: limit - 1] + "…")

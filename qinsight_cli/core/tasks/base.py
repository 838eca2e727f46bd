"""What all tasks share: the `Task` record, the system prompt, the completion parser, the format reward.

A completion is `<think> reasoning </think><answer> answer </answer>`. One parser serves rewards and inference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks.choices import Choices
from qinsight_cli.core.tasks.verdict import telling_sentences

# Table A, "System Prompt", word for word.
SYSTEM_PROMPT = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
    "respectively, i.e., <think> reasoning process here </think><answer> answer here </answer>."
)

# The system prompt of the authors' code: without the final full stop.
AUTHORS_SYSTEM_PROMPT = SYSTEM_PROMPT.removesuffix(".")
IMAGE = {"type": "image"}
PLACE = "<image>"  # the place of a picture in a user's prompt

# The failures of the completion parser; a task adds its own.
FAILURES = ("no_answer", "several_answers", "truncated", "bad_json", "missing_key")


@dataclass(frozen=True)
class ParseFailure:
    """Why a completion could not be read. `kind` is one word for counting, `detail` is for a person.

    `partial` is the part that could be read, as an answer of the task, or None: for rewards that need only that part,
    and for results, which show its `kept` fields.
    """

    kind: str
    detail: str
    partial: Any = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def _tell(fields: Mapping[str, Any], reasoning: str) -> str:
    return telling_sentences(reasoning)


@dataclass(frozen=True)
class Task:
    """One kind of question: its prompt, parser and rewards, and how answers are written, read, plotted and counted.

    name       as in manifests and on the command line
    roles      required images, in the order in which the model sees them
    optional   optional images, which come first in that order (the reference of a comparison)
    content    present roles -> user content: text parts and one bare image part per image
    parse      completion text -> answer dataclass or ParseFailure; never raises
    rewards    completion text, what `parse` made of it, truth -> {reward name: 0.0 or 1.0}, Eq. 3-5 and 7 and the
               format reward
    weights    reward name -> its weight in the overall reward, Eq. 6 and 8
    titles     reward name -> its title in figures; a reward without a title is not plotted
    failures   kinds of ParseFailure in addition to `FAILURES`
    truth      manifest row -> answer dataclass; raises QInsightError naming the bad field
    answer     answer dataclass -> the text that belongs between the answer tags
    fields     answer dataclass -> {column: value}
    columns    the names of these fields, in order
    number     the field that is a number in [1, 5], for a task whose answer is one number; else ""
    kept       fields that a result keeps if the rest of the answer could not be read
    written    fields -> their values in files and on the terminal
    read       one row of text cells by column -> fields or ParseFailure; an empty cell is no answer. A number may be on
               any scale: other systems have their own
    swapped    fields -> the fields of the same pair with its two images exchanged
    rated      two ratings on one scale, higher better -> fields, for a task that compares two images
    spans      name -> a pattern for the part of a completion that carries the answer, for the recipe's
               `token_weights`: group 1, or the whole match
    digits     a pattern for the first digit and the first decimal of the number in a completion: groups 1 and 2
    colours    word of an answer -> its colour in a table on the terminal
    parts      tasks with one question each that can replace this one (`bench --protocol sequential`)
    combined   the fields of the answers to the parts, in order -> the fields of this task
    protocol   the module that computes figures from its answers for `qinsight bench`; "" for none
    choices    the answers whose probabilities can be read; None if the model can only write an answer
    verdict    fields and reasoning -> one line that names the damage and its severity
    badness    fields, from `Task.fields` or `written` -> a number to sort by, higher is worse; None if the answers have
               no order
    system     the system prompt
    authors    the content in the words of the authors' code, where they differ from Table A
    heading    title above an answer on a page; "" for the name
    folder     folder of the authors' release on the hub that has the weights for this task
    """

    name: str
    roles: tuple[str, ...]
    content: Callable[[tuple[str, ...]], list[dict[str, str]]]
    parse: Callable[[str], Any]
    rewards: Callable[[str, Any, Any], dict[str, float]]
    weights: Mapping[str, float]
    truth: Callable[[Mapping[str, Any]], Any]
    answer: Callable[[Any], str]
    fields: Callable[[Any], dict[str, Any]]
    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    number: str = ""
    kept: tuple[str, ...] = ()
    written: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    read: Callable[[Mapping[str, str]], Any] = dict
    swapped: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    rated: Callable[[float, float], dict[str, Any]] | None = None
    spans: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    digits: re.Pattern[str] | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Task, ...] = ()
    combined: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]] = itemgetter(0)
    protocol: str = ""
    choices: Choices | None = None
    verdict: Callable[[Mapping[str, Any], str], str] = _tell
    badness: Callable[[Mapping[str, Any]], float] | None = None
    system: str = SYSTEM_PROMPT
    authors: Callable[[tuple[str, ...]], list[dict[str, str]]] | None = None
    heading: str = ""
    folder: str = "score_degradation"

    @property
    def image_columns(self) -> dict[str, str]:
        """Column of a table -> the role whose file it names: `path` where there is one picture, else the roles."""
        return {"path": self.roles[0]} if len(self.roles) == 1 else {role: role for role in self.roles}

    @property
    def row_columns(self) -> tuple[str, ...]:
        """The columns of a table of results."""
        spread = (f"{self.number}_std", "samples") if self.number else ()
        return (*self.image_columns, *self.optional, *self.columns, *spread, "verdict", "reasoning", "error")

    def styled(self, style: str) -> Task:
        """This task in the words of the "paper" (Table A) or of the "authors" (their code)."""
        if style == "paper":
            return self
        parts = tuple(part.styled(style) for part in self.parts)
        return replace(self, system=AUTHORS_SYSTEM_PROMPT, content=self.authors or self.content, parts=parts)

    def messages(self, roles: tuple[str, ...], prompt: str | None = None) -> list[dict[str, Any]]:
        """The conversation for the given image roles. `prompt` replaces the words of Table A, as in `placed`."""
        content = self.content(roles) if prompt is None else placed(prompt, len(roles))
        return [{"role": "system", "content": [text(self.system)]}, {"role": "user", "content": content}]

    def order(self, images: Mapping[str, Any]) -> tuple[str, ...]:
        """The roles present in `images`, in the order in which the model sees them."""
        return tuple(role for role in (*self.optional, *self.roles) if images.get(role) is not None)

    def earned(self, completion: str, truth: Any) -> dict[str, float]:
        """The rewards of a completion that is not parsed yet."""
        return self.rewards(completion, self.parse(completion), truth)

    def kept_fields(self, failure: ParseFailure) -> dict[str, Any]:
        """What a result shows beside the error: the kept fields, None for the others; {} when nothing is kept."""
        if failure.partial is None or not self.kept:
            return {}
        return {name: value if name in self.kept else None for name, value in self.fields(failure.partial).items()}

    def stratum(self, truth: Mapping[str, Any]) -> tuple[Any, ...]:
        """The stratum of a row: the fifth of the rating scale, or the words of the answer in order."""
        if self.number:
            return (min(4, int((truth[self.number] - 1.0) / 0.8)),)
        return tuple(str(truth[name]) for name in self.columns)


def known_part(answer: Any) -> Any:
    """The answer, the part of it that could be read, or None."""
    return answer.partial if isinstance(answer, ParseFailure) else answer


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def placed(prompt: str, images: int) -> list[dict[str, str]]:
    """The content of a user's prompt: the images where it says `<image>`, else before the words.

    Raises QInsightError if it says `<image>` more or less often than there are images.
    """
    words = prompt.split(PLACE)
    if len(words) == 1:
        return [IMAGE] * images + [text(prompt)]
    if len(words) - 1 != images:
        raise QInsightError(
            f"the prompt says {PLACE} {len(words) - 1} times for {images} {'image' if images == 1 else 'images'}: "
            "write it once for each image, or leave it out to put the images first"
        )
    return [part for part in with_images(words) if part.get("text") != ""]


def with_images(words: Sequence[str]) -> list[dict[str, str]]:
    """User content: the texts, with an image between each two."""
    parts = [text(words[0])]
    for following in words[1:]:
        parts += [IMAGE, text(following)]
    return parts


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
        return ParseFailure("truncated", "the answer is cut off; raise --max-new-tokens")
    before, _, rest = completion.partition("<answer>")
    inner, tag, _ = rest.partition("</answer>")
    if not tag:
        return ParseFailure("no_answer", "</answer> comes before <answer>")
    reasoning = before.partition("<think>")[2] if "<think>" in before else before
    return _TAG.sub("", reasoning).strip(), unfence(inner)


def read_answer(completion: str, key: str) -> tuple[str, dict[str, str | None]] | ParseFailure:
    """Completion -> (reasoning, the pairs of its answer as `read_object` reads them), which must have `key`."""
    parts = split_completion(completion)
    if isinstance(parts, ParseFailure):
        return parts
    found = read_object(parts[1])
    if isinstance(found, ParseFailure):
        return found
    return (parts[0], found) if key in found else ParseFailure("missing_key", f'the answer has no "{key}"')


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
    found, failure = read_pairs(answer)
    return found if failure is None else failure


def read_pairs(answer: str) -> tuple[dict[str, str | None], ParseFailure | None]:
    """As `read_object`, but keeps the pairs before the first unreadable one. A repeated key is dropped."""
    if not _JSON_LIKE.fullmatch(answer):
        return {}, ParseFailure("bad_json", f"the answer is not one flat JSON object: {shorten(answer)}")
    found: dict[str, str | None] = {}
    body, position = answer[1:-1].strip(), 0
    while position < len(body):
        pair = _PAIR.match(body, position)
        if not pair:
            return found, ParseFailure("bad_json", f"the answer is not readable JSON: {shorten(answer)}")
        key = pair.group(2).lower()
        if key in found:
            del found[key]
            return found, ParseFailure("several_answers", f'the key "{key}" appears twice')
        value = next(group for group in pair.groups()[2:] if group is not None).strip()
        found[key] = None if value.lower() == "null" else value
        position = pair.end()
    return found, None


def format_reward(completion: str, json_like: bool = True) -> float:
    """r_fmt of Sec. 3.3: 1.0 when the tags enclose reasoning and answer, once each and in order, else 0.0.

    With `json_like` the answer must also begin with "{", end with "}" and contain no other brace. Spaces and
    newlines inside the tags cost nothing. A code fence costs the reward, since the answer then begins with it, but
    `parse` still reads it. An empty reasoning costs nothing: the paper sets no length.
    """
    layout = _LAYOUT.fullmatch(completion)
    if not layout or len(_TAG.findall(completion)) != 4:
        return 0.0
    return float(not json_like or bool(_JSON_LIKE.fullmatch(layout.group(2).strip())))


def completion_of(reasoning: str, answer: str) -> str:
    """A completion with this reasoning and answer, in the layout of the system prompt."""
    return f"<think> {reasoning} </think><answer> {answer} </answer>"


def shorten(words: str, limit: int = 80) -> str:
    words = " ".join(words.split())
    return repr(words if len(words) <= limit else words[: limit - 1] + "…")

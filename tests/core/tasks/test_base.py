"""The parser and the format reward that all tasks share, and the words of the paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.tasks import TASKS, ParseFailure
from qinsight_cli.core.tasks.base import (
    IMAGE,
    SYSTEM_PROMPT,
    completion_of,
    format_reward,
    placed,
    read_object,
    split_completion,
    unfence,
)

# Retyped from Table A of the paper. "<image>" stands where an image stands.
SYSTEM = """A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The
assistant first thinks about the reasoning process in the mind and then provides the user with the answer. The
reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e.,
<think> reasoning process here </think><answer> answer here </answer>."""
SCORE = """What is your overall rating on the quality of this picture? The rating should be a float between 1 and 5,
rounded to two decimal places, with 1 representing very poor quality and 5 representing excellent quality. Return the
final answer in JSON format with the following keys: "rating": The score."""
DEGRADATION = """Analyze the given image and determine if it contains any of the following distortions: "noise",
"compression", "blur", or "darken". If a distortion is present, classify its severity as "slight", "moderate",
"obvious", "serious", or "catastrophic". Return the result in JSON format with the following keys: "distortion_class":
The detected distortion (or "null" if none). and "severity": The severity level (or "null" if none)."""
NO_REFERENCE = """Given Image A: <image> and <image>, assess the visual quality of both the Image A and the Image B,
explain and justify which one is better considering composition and degradation. Your answer should be "Image A" or
"Image B"."""
REFERENCE = """Given a low-quality reference image and two enhanced outputs. Reference Image: <image>, Image A: <image>
and Image B: <image>. Decide which enhanced image is superior or if they are comparable. Evaluate based on: 1) fidelity
and consistency with the reference image; 2) overall perceptual quality. Return exactly one of: "Image A", "Image B",
or "Similar"."""


def words_of(name: str, roles: tuple[str, ...]) -> str:
    content = TASKS[name].messages(roles)[1]["content"]
    return "".join("<image>" if part["type"] == "image" else part["text"] for part in content)


def test_prompts_are_those_of_the_paper() -> None:
    def flat(text: str) -> str:
        return text.replace("\n", " ")

    assert flat(SYSTEM) == SYSTEM_PROMPT
    assert words_of("score", ("image",)) == "<image>" + flat(SCORE)
    assert words_of("degradation", ("image",)) == "<image>" + flat(DEGRADATION)
    assert words_of("comparison", ("image_a", "image_b")) == flat(NO_REFERENCE)
    assert words_of("comparison", ("reference", "image_a", "image_b")) == flat(REFERENCE)


def test_messages_have_one_image_part_per_role_and_take_other_words() -> None:
    task = TASKS["comparison"]
    roles = task.order({"image_a": "a", "image_b": "b", "reference": "r", "other": "x"})
    assert roles == ("reference", "image_a", "image_b")
    assert task.order({"image_b": "b", "image_a": "a", "reference": None}) == ("image_a", "image_b")
    system, user = task.messages(roles, prompt="Which one?")
    assert system == {"role": "system", "content": [{"type": "text", "text": SYSTEM_PROMPT}]}
    assert user == {"role": "user", "content": [IMAGE, IMAGE, IMAGE, {"type": "text", "text": "Which one?"}]}


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think> a </think><answer> b </answer>", ("a", "b")),
        ("\n<think>\na\n</think>\n\n<answer>\nb\n</answer>\n", ("a", "b")),
        ("a <answer>b</answer>", ("a", "b")),
        ("<answer>b</answer> and more", ("", "b")),
        ("before <think>a</think> between <answer>b</answer>", ("a between", "b")),
        ("<think>a</think><answer>```json\nb\n```</answer>", ("a", "b")),
        ("<think> a", "no_answer"),
        ("", "no_answer"),
        ("</answer> b <answer>", "no_answer"),
        ("<think>a</think><answer> b", "truncated"),
        ("<answer>b</answer><answer>c</answer>", "several_answers"),
        ("<answer>b<answer>c</answer>", "several_answers"),
    ],
)
def test_splitting(completion: str, expected: object) -> None:
    parts = split_completion(completion)
    assert (parts.kind if isinstance(parts, ParseFailure) else parts) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" x ", "x"),
        ("```\nx\n```", "x"),
        ("```json\n{}\n```", "{}"),
        (" ```JSON {} ``` ", "{}"),
        ('```json{"a": 1}```', '{"a": 1}'),
        ("```Image A```", "Image A"),
        ("``````", ""),
        ("```", "```"),
        ("```x", "```x"),
    ],
)
def test_fences(text: str, expected: str) -> None:
    assert unfence(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        ('{"a": "b", "c": 1.5}', {"a": "b", "c": "1.5"}),
        ("{a: b, 'c': 'd e',}", {"a": "b", "c": "d e"}),
        ('{\n  "A" : null ,\n  "b" : "NULL"\n}', {"a": None, "b": None}),
        ("a: b", "bad_json"),
        ('{"a": {"b": 1}}', "bad_json"),
        ('{"a": }', "bad_json"),
        ('{"a" "b"}', "bad_json"),
        ('{"a": 1, "A": 2}', "several_answers"),
    ],
)
def test_objects(text: str, expected: object) -> None:
    found = read_object(text)
    assert (found.kind if isinstance(found, ParseFailure) else found) == expected


@pytest.mark.parametrize(
    ("completion", "json_like", "reward"),
    [
        ('<think> a </think><answer> {"rating": 3} </answer>', True, 1.0),
        ('<think>a</think>\n<answer>\n{"rating": 3}\n</answer>\n', True, 1.0),
        ('<think>a</think>\n<answer>\n```json\n{"rating": 3}\n```\n</answer>\n', True, 0.0),
        ("<think>a</think><answer>```{}```</answer>", True, 0.0),
        ("<think>a</think><answer>```\nImage A\n```</answer>", False, 1.0),
        ("<think> </think><answer>{}</answer>", True, 1.0),
        ("<think> a </think><answer> Image A </answer>", False, 1.0),
        ("<think> a </think><answer> Image A </answer>", True, 0.0),
        ('<think> a </think><answer> {"a": {"b": 1}} </answer>', True, 0.0),
        ('<think> a </think><answer> the answer is {"rating": 3} </answer>', True, 0.0),
        ("<answer> {} </answer>", True, 0.0),
        ("<think> a </think>", True, 0.0),
        ("so: <think> a </think><answer> {} </answer>", True, 0.0),
        ("<think> a </think><answer> {} </answer> done", True, 0.0),
        ("<answer> {} </answer><think> a </think>", True, 0.0),
        ("<think> a <think> b </think></think><answer> {} </answer>", True, 0.0),
        ("<think> a </think><answer> {} </answer><answer> {} </answer>", True, 0.0),
        ("", True, 0.0),
    ],
)
def test_format_reward(completion: str, json_like: bool, reward: float) -> None:
    assert format_reward(completion, json_like) == reward


ROW = {"rating": 3.0, "distortion": "noise", "severity": "slight", "winner": "Image A"}
PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "{",
        "}",
        "```",
        "json",
        '"',
        "'",
        ":",
        ",",
        "rating",
        "severity",
        "distortion_class",
        "noise",
        "null",
        "slight",
        "3.5",
        "1e999",
        "-",
        ".",
        "Image",
        "A",
        "Similar",
        "*",
        "٣",
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES | st.sampled_from(" \n"), max_size=25).map("".join)))
def test_no_text_makes_a_parser_raise_and_rewards_are_0_or_1(completion: str) -> None:
    for task in TASKS.values():
        task.parse(completion)
        rewards = task.earned(completion, task.truth(ROW))
        assert rewards.keys() == task.weights.keys()
        assert set(rewards.values()) <= {0.0, 1.0}


@pytest.mark.parametrize("filler", [" ", "\n", "`", "{", '"', "a:", "a: b,", "<think>", "</think>", "'", "*", "."])
def test_long_completions_are_read_in_a_moment(filler: str) -> None:
    # Patterns that backtrack over runs of space once took minutes on such a text.
    for task in TASKS.values():
        for inner in ("```" + filler * 20_000, "{" + filler * 20_000 + "}", filler * 20_000 + "x"):
            completion = completion_of("so", inner)
            task.parse(completion)
            task.earned(completion, task.truth(ROW))


# The comparison of the authors' code, retyped; "<image>" stands where an image stands.
AUTHORS = """Given a low-quality reference image and two enhanced outputs. Reference Image:<image>Image A:<image>Image
B:<image>Decide which enhanced image is superior or if they are comparable. Evaluate based on: 1) fidelity and
consistency with the reference image; 2) overall perceptual quality. Return **exactly one** of: Image A, Image B, or
Similar."""


def test_the_words_of_the_authors_code() -> None:
    for task in TASKS.values():
        system, user = task.styled("authors").messages(task.roles)
        assert system["content"][0]["text"] + "." == " ".join(SYSTEM.split())
        assert user == task.messages(task.roles)[1]  # as in Table A, but for the comparison with a reference
        assert task.styled("paper") is task
    comparison = TASKS["comparison"].styled("authors")
    content = comparison.messages(("reference", "image_a", "image_b"))[1]["content"]
    assert "".join(part.get("text", "<image>") for part in content) == " ".join(AUTHORS.split())


def test_images_where_a_prompt_wants_them() -> None:
    words = {"type": "text", "text": "Rate it."}
    assert placed("Rate it.", 2) == [IMAGE, IMAGE, words]
    assert placed("<image>Rate it.", 1) == [IMAGE, words]
    assert placed("A: <image>\nB: <image>", 2) == [
        *({"type": "text", "text": "A: "}, IMAGE, {"type": "text", "text": "\nB: "}, IMAGE)
    ]
    with pytest.raises(QInsightError, match="says <image> 2 times for 1 image: "):
        placed("<image> or <image>?", 1)
    with pytest.raises(QInsightError, match="the prompt says <image> 1 times for 2 images"):
        placed("<image> is it better?", 2)

"""Typer's errors about a wrong command line as one plain line, with a suggestion."""

from __future__ import annotations

import re
from difflib import get_close_matches

# Other names for the values of our options.
_ALSO = {
    "fp16": "float16", "half": "float16", "f16": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32",
    "f32": "float32", "full": "float32", "fast": "direct", "int4": "4bit", "int8": "8bit",
}  # fmt: skip
_CHOICE = re.compile(r"Invalid value for '([^']+)':.*?'([^']*)' is not one of (.+)", re.DOTALL)
_OPTION = re.compile(r"No such option: ?(-\S+)")
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.+)\)", re.DOTALL)
_RANGE = re.compile(r"Invalid value for '([^']+)': Input should be (.+)", re.DOTALL)


def suggestion(word: str, known: list[str]) -> str:
    """ "; did you mean float16?" for a word that is close to a known one, else ""."""
    other = _ALSO.get(word.lower())
    near = [other] if other in known else get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def plain(message: str, options: list[str]) -> str:
    """A message of Typer in plain words. `options` are the options of the command."""
    if found := _CHOICE.match(message):
        option, word, rest = found.groups()
        choices = re.findall(r"'([^']*)'", rest)
        return f"{option} {word} is not one of {', '.join(choices)}{suggestion(word, choices)}"
    if found := _OPTION.match(message):
        return f"no option {found[1]}{suggestion(found[1], options)}"
    if found := _RANGE.match(message):
        return f"{found[1]} must be {found[2].rstrip('.')}"
    if found := _EXTRA.match(message):
        instead = "; a reference is --ref FILE, many pairs are --pairs CSV" if "--ref" in options else ""
        return f"more arguments than the command takes: {found[1]}{instead}"
    return message

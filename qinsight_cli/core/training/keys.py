"""The keys of recipes: the range and the help of each, and the one line for an invalid value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_type_hints

from qinsight_cli.core.errors import QInsightError

Recipe = TypeVar("Recipe")

# Pydantic settings of every recipe: no conversions, so "3" is not a number and 1 is not true.
STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

UNKNOWN = "unexpected_keyword_argument"  # pydantic's name for an unknown key
# Kinds of errors of pydantic -> our words.
_KINDS = {
    "string_type": "is not text",
    "bool_type": "is not true or false",
    "float_type": "is not a number",
    "finite_number": "is not a number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "dict_type": "is not a list of names and numbers",
    "dataclass_type": "is not a list of names and values",
    "tuple_type": "is not a list",
}


@dataclass(frozen=True, kw_only=True)
class Range:
    """The valid numbers of a key, in its annotation: above `above`, at least `least`, at most `most`."""

    above: float | None = None
    least: float | None = None
    most: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Field as Bounds

        return handler(Annotated[source, Bounds(gt=self.above, ge=self.least, le=self.most)])


HIGHEST_SEED = 2_000_000_000  # NumPy takes 0 to 2**32 - 1, and the phases of SFT add their numbers


@dataclass(frozen=True)
class Setting(Range):
    """A key that is also an option of `qinsight train`.

    help     what it does, for --help and for the table in docs/training.md
    panel    of the help that shows it
    option   its name on the command line, if it differs from the key; "--on/--off" for true and false
    metavar  what --help shows for its value
    """

    help: str
    panel: str | None = None
    option: str = ""
    metavar: str | None = None


def settings(kind: type) -> Iterator[tuple[Field[Any], Any, Setting]]:
    """Each field of a recipe whose annotation has a Setting, with its type and the Setting."""
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        for found in getattr(hints[each.name], "__metadata__", ()):
            if isinstance(found, Setting):
                yield each, hints[each.name].__origin__, found


def option_of(name: str, setting: Setting, kind: Any) -> str:
    """The option of a key as Typer declares it: --max-steps, --bf16/--no-bf16."""
    words = name.replace("_", "-")
    return setting.option or (f"--{words}/--no-{words}" if kind is bool else f"--{words}")


def typed(kind: type[Recipe], values: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from its YAML. Raises QInsightError with one line for the first invalid value."""
    from pydantic import TypeAdapter, ValidationError

    try:
        # As JSON, which has the types of YAML: a list becomes a tuple, nothing else changes.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        # An unknown key comes first: it is often the reason why another is missing.
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != UNKNOWN)
        raise QInsightError(_complaint(kind, first, where)) from None


def _complaint(kind: type, error: Mapping[str, Any], where: str) -> str:
    """`error` is one of pydantic's: type, loc (keys and list positions), input, ctx."""
    *way, key = _names(error["loc"])
    where = ", ".join([where, *way])
    what, value, limits = error["type"], error["input"], error.get("ctx", {})
    if what == UNKNOWN:
        return f"{where}: unknown key {key!r}{did_you_mean(key, _known(kind, error['loc'][:-1]))}"
    if what == "missing":
        return f"{where}: {key} is missing"
    if what in _KINDS:
        text = "is not a number" if what == "int_type" and isinstance(value, str) else _KINDS[what]
        return f"{where}, {key}: {value!r} {text}"
    if what == "literal_error":
        allowed = [word for word in limits["expected"].replace(" or ", ", ").replace("'", "").split(", ") if word]
        return f"{where}: {key} is {value!r}; choose {' or '.join(allowed)}"
    if what in ("greater_than", "greater_than_equal", "less_than_equal"):
        bound = {
            "greater_than": "above {gt:g}",
            "greater_than_equal": "{ge:g} or more",
            "less_than_equal": "at most {le:g}",
        }
        return f"{where}: {key} is {value!r}; it must be {bound[what].format(**limits)}"
    return f"{where}: {key} is {value!r}; {error['msg'][:1].lower()}{error['msg'][1:]}"


def _names(way: Iterable[str | int]) -> list[str]:
    """("phases", 0, "steps") -> ["phase 1", "steps"]."""
    names: list[str] = []
    for step in way:
        if not isinstance(step, int):
            names.append(step)
        elif names[-1].endswith("s"):
            names[-1] = f"{names[-1][:-1]} {step + 1}"
        else:
            names[-1] += f".{step + 1}"
    return names


def _known(kind: Any, way: Iterable[str | int]) -> list[str]:
    """The keys of the recipe, or of the part that the path `way` leads to."""
    for step in way:
        kind = next(iter(kind.__args__)) if isinstance(step, int) else get_type_hints(kind)[step]
    return [each.name for each in fields(kind)]


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """A hint to the nearest known word, or to all of them."""
    known = list(known)
    near = get_close_matches(str(word), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def check_names(noun: str, names: Iterable[str], known: Iterable[str], key: str) -> None:
    """Raises QInsightError for a name in the value of `key` that is not among the known ones."""
    known = list(known)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise QInsightError(f"{key}: no {noun} {name!r}; {noun}s are {', '.join(known)}{hint}")


def check_mix(mix: Mapping[str, float], key: str) -> None:
    """Raises QInsightError for the share of an unknown task, and if all shares are 0."""
    from qinsight_cli.core.tasks import TASKS

    check_names("task", (name.partition("/")[0] for name in mix), TASKS, key)
    if mix and not any(mix.values()):
        raise QInsightError(f"the shares of {key} are all 0")

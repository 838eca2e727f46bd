"""Recipes: one YAML file each, one section an algorithm; every figure of a training run is a line in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.network import Shape

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own batches and learning rate.

    kind    "see" trains the vision tower with direct heads, "talk" trains the whole model on the answers
    crop    side in pixels of a random square cut from the resized picture; 0 takes it whole, as inference does
    batch   pictures a step; a row with several pictures counts as several
    mix     share of each `task` or `task/source` in the batches
    """

    name: str
    kind: str
    steps: int
    batch: int
    learning_rate: float
    mix: Mapping[str, float]
    crop: int = 0
    vision_learning_rate: float | None = None
    warmup: int = 0


@dataclass(frozen=True)
class SftRecipe:
    """Supervised fine-tuning. `model` is "new" for a network from nothing with `network`'s shape, or a model name."""

    model: str
    seed: int
    phases: tuple[Phase, ...]
    network: Shape = field(default_factory=Shape)
    token_weights: Mapping[str, float] = field(default_factory=dict)
    bf16: bool = True  # autocast of the steps; the weights train in float32
    final_dtype: str = "bfloat16"  # of the final weights as written
    workers: int = 1


def load_sft(name: str, overrides: Mapping[str, Any] | None = None) -> SftRecipe:
    """The sft section of a recipe: a name in the package or a YAML file. `overrides` win over what it says.

    Raises QInsightError naming an unknown recipe, an unknown key and the nearest known one, or a value of a wrong type.
    """
    content = _read(name)
    if "sft" not in content:
        raise QInsightError(f"recipe {name!r} has no sft section; it has {', '.join(content)}")
    section = {**content["sft"], **{key: value for key, value in (overrides or {}).items() if value is not None}}
    section["network"] = _build(Shape, section.get("network", {}), f"recipe {name!r}, network")
    section["phases"] = tuple(
        _build(Phase, phase, f"recipe {name!r}, phase {number}") for number, phase in enumerate(section["phases"], 1)
    )
    return _build(SftRecipe, section, f"recipe {name!r}")


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _read(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"recipes are {', '.join(names())}, or give a YAML file"
        raise QInsightError(f"no recipe {name!r}; {hint}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise QInsightError(f"recipe {name!r} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise QInsightError(f"recipe {name!r} is empty")
    return content


def _build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    known = {item.name: item for item in fields(kind)}
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise QInsightError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    read = {key: _number(value, str(known[key].type), f"{where}, {key}") for key, value in values.items()}
    try:
        return kind(**read)
    except TypeError as error:
        raise QInsightError(f"{where}: {error}") from error


def _number(value: Any, annotation: str, where: str) -> Any:
    """YAML reads 1e-6 as text: numbers are checked against the type of their field."""
    try:
        if annotation.startswith("float"):
            return None if value is None else float(value)
        if annotation == "int":
            if isinstance(value, bool) or int(value) != float(value):
                raise ValueError
            return int(value)
    except (TypeError, ValueError):
        raise QInsightError(f"{where}: {value!r} is not a number") from None
    return tuple(value) if isinstance(value, list) and annotation.startswith("tuple") else value

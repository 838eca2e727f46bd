"""Reading of recipes: YAML files with a section for each algorithm, which hold every setting of a training run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from qinsight_cli.core.encodings import read_text
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.training.grpo import recipe as grpo
from qinsight_cli.core.training.grpo.recipe import GrpoRecipe
from qinsight_cli.core.training.keys import did_you_mean, typed
from qinsight_cli.core.training.sft import recipe as sft
from qinsight_cli.core.training.sft.recipe import SftRecipe
from qinsight_cli.core.training.shipped import find_yaml, names_in

FOLDER = Path(__file__).with_name("recipes")
SECTIONS = ("base", "grpo", "sft")


def load_sft(name: str, overrides: Mapping[str, Any] | None = None) -> SftRecipe:
    """The sft section of a recipe: a name in the package or a YAML file. `overrides` take precedence.

    Raises QInsightError naming an unknown recipe, an unknown key and the nearest known one, or an invalid value.
    """
    content = _read(name)
    if "sft" not in content:
        raise QInsightError(f"recipe {name!r} has no sft section; it has {', '.join(content)}")
    section = content["sft"]
    if not isinstance(section, dict) or not section.get("phases"):
        raise QInsightError(f"recipe {name!r}: the sft section has no phases")
    recipe = typed(SftRecipe, _over(section, overrides), f"recipe {name!r}")
    sft.check(recipe)
    return recipe


def load_grpo(name: str, overrides: Mapping[str, Any] | None = None) -> GrpoRecipe:
    """The grpo section of a recipe. `overrides` take precedence over the file, the file over the recipe it is based on.

    Raises QInsightError as `load_sft` does.
    """
    section = _over(_section(name, "grpo", ()), overrides)
    for each in fields(GrpoRecipe):
        value = section.get(each.name)
        if isinstance(each.default, tuple) and isinstance(value, str):  # names may be written with commas
            section[each.name] = [word.strip() for word in value.split(",") if word.strip()]
    recipe = typed(GrpoRecipe, section, f"recipe {name!r}")
    grpo.check(recipe)
    return recipe


def read_yaml(text: str) -> Any:
    """YAML in which 1e-6 is a number, as in YAML 1.2; PyYAML reads it as text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def names() -> list[str]:
    """The recipes of the package."""
    return names_in(FOLDER)


def _over(section: Mapping[str, Any], overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**section, **{key: value for key, value in (overrides or {}).items() if value is not None}}


def _section(name: str, algorithm: str, above: tuple[str, ...]) -> dict[str, Any]:
    """One section of a recipe over the same section of the recipe that its `base` line names."""
    content = _read(name)
    base = content.pop("base", None)
    if base in above:
        raise QInsightError(f"recipe {name!r} is based on itself")
    if base is None and algorithm not in content:
        way_out = ": give --algorithm sft" if "sft" in content else ""
        raise QInsightError(f"recipe {name!r} has no {algorithm} section; it has {', '.join(content)}{way_out}")
    section = content.get(algorithm) or {}
    if not isinstance(section, dict):
        raise QInsightError(f"recipe {name!r}: the {algorithm} section is not a list of settings")
    return section if base is None else {**_section(str(base), algorithm, (*above, name)), **section}


def _read(name: str) -> dict[str, Any]:
    text = read_text(find_yaml(FOLDER, name, "no recipe", "recipes"))
    try:
        content = read_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise QInsightError(f"recipe {name!r} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise QInsightError(f"recipe {name!r} has no sections; they are {', '.join(SECTIONS)}")
    for key in content:
        if key not in SECTIONS:
            raise QInsightError(f"recipe {name!r}: unknown section {key!r}{did_you_mean(key, SECTIONS)}")
    return content

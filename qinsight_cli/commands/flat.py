"""Dataclasses of options for Typer: `flat` turns their fields into parameters, `written` declares an output path."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any, get_type_hints

import typer

from qinsight_cli.commands.help import plain_values
from qinsight_cli.core.errors import UsageError
from qinsight_cli.core.output_checks import check_output_name


def _check_written(parameter: typer.CallbackParam, value: str | Path | None) -> str | Path | None:
    if value is not None and value != "-":  # the text "-" is standard output; a Path is never equal to it
        check_output_name(value, parameter.opts[0])
    return value


def written(name: str, **more: Any) -> Any:
    """A Typer option whose value is a folder or file to write."""
    return typer.Option(name, callback=_check_written, **more)


def _check_numbers(given: Mapping[str, Any]) -> None:
    """Raises UsageError for nan, which passes every comparison with a limit, and for an infinite range."""
    for name, value in given.items():
        ends = [each for each in value if isinstance(each, float)] if isinstance(value, tuple) else []
        wide = bool(ends) and not math.isfinite(max(ends) - min(ends))
        if wide or (isinstance(value, float) and math.isnan(value)):
            words = " ".join(map(str, ends)) or str(value)
            raise UsageError(f"--{name.replace('_', '-')} {words}: give {'two numbers' if ends else 'a number'}")


def flat(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for Typer: a parameter whose type is a dataclass is replaced by parameters for its fields.

    A field may be a dataclass itself. The new function builds the dataclasses from its arguments.
    """
    groups: dict[str, type] = {}
    parameters = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation  # type: ignore[assignment]
            parameters += list(_parameters(parameter.annotation))
        else:
            plain = plain_values(parameter.annotation)
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=plain))

    @wraps(function)
    def flattened(**given: Any) -> Any:
        _check_numbers(given)
        built = {name: _build(kind, given) for name, kind in groups.items()}
        return function(**built, **given)

    flattened.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flattened.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flattened


def _parameters(kind: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        if is_dataclass(hints[each.name]):
            yield from _parameters(hints[each.name])
        else:
            default = inspect.Parameter.empty if each.default is MISSING else each.default
            yield inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=plain_values(hints[each.name])
            )


def _build(kind: Any, given: dict[str, Any]) -> Any:
    """Build a dataclass from its fields in `given`, and remove them from `given`."""
    hints = get_type_hints(kind)
    values = {
        each.name: _build(hints[each.name], given) if is_dataclass(hints[each.name]) else given.pop(each.name)
        for each in fields(kind)
    }
    return kind(**values)

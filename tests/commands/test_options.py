"""Options as dataclasses: what `flat` gives to Typer, and what is refused before anything is done."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from qinsight_cli import cli
from qinsight_cli.commands.answers import Answers, BenchAnswers, Mode, Rating, ScoreAnswers, read_prompt
from qinsight_cli.commands.flat import flat
from qinsight_cli.commands.options import Judging, Output
from qinsight_cli.core.engines import AUTHORS_DECODING, Decoding
from qinsight_cli.core.errors import QInsightError


@dataclass(frozen=True, kw_only=True)
class Inner:
    colour: Annotated[str, typer.Option("--colour", help="Of the inner.", rich_help_panel="Inside")] = "red"
    secret: Annotated[int, typer.Option("--secret", hidden=True)] = 7


@dataclass(frozen=True, kw_only=True)
class Outer:
    size: Annotated[int, typer.Option("--size", min=1)] = 2
    inner: Inner
    names: Annotated[list[str] | None, typer.Option("--name")] = None


def make_app() -> tuple[typer.Typer, list[Any]]:
    app, seen = typer.Typer(), []

    @app.command()
    @flat
    def show(path: Annotated[Path, typer.Argument(metavar="PATH")], outer: Outer, loud: bool = False) -> None:
        """Shown in the help."""
        seen.append((path, outer, loud))

    return app, seen


def test_the_fields_of_a_dataclass_are_parsed_into_it() -> None:
    app, seen = make_app()
    app(["a.png"], standalone_mode=False)
    app(["b.png", "--size", "3", "--colour", "blue", "--secret", "1", "--name", "x", "--name", "y", "--loud"],
        standalone_mode=False)  # fmt: skip
    assert seen == [
        (Path("a.png"), Outer(size=2, inner=Inner(colour="red", secret=7), names=None), False),
        (Path("b.png"), Outer(size=3, inner=Inner(colour="blue", secret=1), names=["x", "y"]), True),
    ]


def test_help_has_the_panel_and_hides_what_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    app, _ = make_app()
    app(["--help"], standalone_mode=False)
    out = capsys.readouterr().out
    for words in ("Shown in the help.", "--size", "x>=1", "Inside", "Of the inner.", "PATH"):
        assert words in out
    assert "--secret" not in out


def test_a_flat_signature_names_every_field_once() -> None:
    def command(outer: Outer) -> None: ...

    assert list(inspect.signature(flat(command)).parameters) == ["size", "colour", "secret", "names"]


@pytest.mark.parametrize(
    ("given", "decoding"),
    [
        ({}, Decoding()),
        ({"samples": 4}, Decoding(samples=4, temperature=1.0)),
        ({"samples": 4, "temperature": 0.5}, Decoding(samples=4, temperature=0.5)),
        ({"temperature": 0.0, "max_new_tokens": 9}, Decoding(max_new_tokens=9)),
        ({"preset": "authors"}, AUTHORS_DECODING),
        ({"preset": "authors", "samples": 2}, Decoding(1024, 2, 1.0, 50, 0.95)),
    ],
)
def test_decoding(given: dict[str, Any], decoding: Decoding) -> None:
    from qinsight_cli.commands.answers import Preset

    given = {**given, **({"preset": Preset(given["preset"])} if "preset" in given else {})}
    assert Answers(**given).decoding == decoding


def test_the_journal_belongs_to_the_first_file() -> None:
    assert Output(csv="-", jsonl="b").files == ["b"]
    assert Output(csv="a", jsonl="b").files == ["a", "b"]
    assert Output(csv="-").files == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("score x.png --csv --jsonl", "--csv --jsonl:"),
        ("score x.png --jsonl --restart", "--jsonl --restart:"),
        ("degrade x.png --csv -out.csv", "--csv -out.csv:"),
        ("compare a.png b.png --csv out/-c.csv", "--csv out/-c.csv:"),
        ("train --out --resume", "--out --resume:"),
        ("bench table1 --out --restart", "--out --restart:"),
        ("prepare kadid there --out --copy", "--out --copy:"),
        ("prepare pairs there --out -", "--out -:"),
        ("prepare synth there --out --varied", "--out --varied:"),
        ("prepare synth there --contact-sheet --seed", "--contact-sheet --seed:"),
    ],
)
def test_no_command_writes_such_a_name(
    words: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"qinsight: error: {says} a name that begins with - looks like an option; give another name\n"
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_whose_own_name_begins_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for number in range(3):
        Image.new("RGB", (40, 40), (50 * number,) * 3).save(f"{number}.png")
    Path("-t.csv").write_text("path,mos\n0.png,1\n1.png,2\n2.png,3\n")
    words = ["prepare", "csv", "./-t.csv", "--image-column", "path", "--label-column", "mos", "--workers", "1"]
    assert cli.run(words) == 2
    assert "--name -t: a name that begins with -" in capsys.readouterr().err
    assert not Path("data").exists()
    assert cli.run([*words, "--name", "t"]) == 0


def test_judging_has_one_field_for_each_shared_option() -> None:
    """score, degrade and compare have the same options, in the same order, and no other but their own."""
    from qinsight_cli.commands.compare import compare
    from qinsight_cli.commands.degrade import degrade
    from qinsight_cli.commands.score import score

    def shared(run: Judging) -> None: ...

    names = list(inspect.signature(flat(shared)).parameters)
    assert {"csv", "device", "seed", "prompt", "limit"} <= set(names)
    for verb in (score, degrade, compare):
        own = [
            name for name in inspect.signature(verb).parameters if name not in ("rating", "fail_below")
        ]  # of score alone
        assert own[-len(names) :] == names


@pytest.mark.parametrize("temperature", ["inf", "1e-9", "1e9"])
def test_absurd_temperatures_are_refused(temperature: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["score", "x.jpg", "--temperature", temperature]) == 2
    assert "is neither 0 nor between 0.01 and 100" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "x.jpg", "--fail-below", "nan"], "--fail-below must be"),
        (["score", "x.jpg", "--below", "nan"], "--below"),
        (["score", "x.jpg", "--temperature", "nan"], "--temperature"),
        (["prepare", "csv", "x.csv", "--test-share", "nan"], "--test-share must be"),
        (["prepare", "csv", "x.csv", "--label-range", "0", "inf"], "--label-range 0.0 inf: give two numbers"),
        (["prepare", "csv", "x.csv", "--label-range", "nan", "1"], "--label-range nan 1.0: give two numbers"),
        (["prepare", "csv", "x.csv", "--label-range", "-1e308", "1e308"], "1e+308: give two numbers"),
    ],
)
def test_what_is_no_number_passes_no_limit(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("token", ["<|im_start|>", "<|image_pad|>", "<|endoftext|>"])
def test_control_tokens_in_a_prompt_are_refused(token: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(f"Rate it. {token}system")
    with pytest.raises(QInsightError, match="a control token of the model"):
        read_prompt(tmp_path / "words.txt")


@pytest.mark.parametrize(
    ("kind", "given", "rating"),
    [
        (ScoreAnswers, {}, "expected"),
        (ScoreAnswers, {"rating": Rating.answer}, "answer"),
        (BenchAnswers, {}, "answer"),
        (BenchAnswers, {"rating": Rating.expected}, "expected"),
        (BenchAnswers, {"mode": Mode.direct}, "expected"),
        (Answers, {}, "answer"),
    ],
)
def test_how_a_rating_is_read_depends_on_the_command(kind: Any, given: dict[str, Any], rating: str) -> None:
    decoding = kind(**given).decoding
    assert (decoding.rating, decoding.mode) == (rating, given.get("mode", Mode.reasoned).value)

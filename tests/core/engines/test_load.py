"""One function for every engine, and one line for a new one."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from qinsight_cli.core import engines
from qinsight_cli.core.engines import Completion, Decoding, Engine, ModelOptions, Request, Unanswered, engine_of, load
from qinsight_cli.core.engines.local import LocalEngine
from qinsight_cli.core.errors import QInsightError
from qinsight_cli.core.models.placement import NetworkOptions


def test_a_name_without_a_known_prefix_is_a_model_for_this_machine(random_model: Path) -> None:
    assert type(load(str(random_model), ModelOptions("cpu"))) is LocalEngine
    assert engine_of("q-insight:comparison") == ("", "q-insight:comparison")
    assert engine_of("deqa:owner/name:folder") == ("deqa", "owner/name:folder")


def test_a_model_that_is_not_there_is_one_line() -> None:
    with pytest.raises(QInsightError, match="no such folder"):
        load("deqa:nothing-of-this-name")


def test_a_new_engine_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Echo(Engine):
        def __init__(self, *given: object) -> None:
            self.given, self.notes = given, ["loaded"]

        def prepare(self, requests: Sequence[Request]) -> int:
            return len(requests)

        def generate(self, batch: int, decoding: Decoding) -> list[list[Completion] | Unanswered]:
            return [Unanswered("an echo")] * batch

    module = ModuleType("echo_engine")
    module.load_echo = Echo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "echo_engine", module)
    monkeypatch.setitem(engines.ENGINES, "echo", ("echo_engine", "load_echo"))
    network, said = NetworkOptions(offload=True), list[str]()
    engine = load("echo:name", ModelOptions("cpu", "float32", 1000, network), said.append)
    assert isinstance(engine, Echo)
    assert engine.given == ("name", "cpu", "float32", 1000, network)
    assert said == ["loaded"]


def test_an_engine_that_cannot_answer_is_not_made() -> None:
    class Mute(Engine):
        def prepare(self, requests: Sequence[Request]) -> int:
            return len(requests)

    with pytest.raises(TypeError, match="generate"):
        Mute()  # type: ignore[abstract]

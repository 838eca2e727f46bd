"""qinsight: rate pictures, name their degradation, compare them, and say why."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qinsight_cli.api import QInsight as QInsight
    from qinsight_cli.api.metric import QualityMetric as QualityMetric
    from qinsight_cli.api.results import Comparison as Comparison
    from qinsight_cli.api.results import Degradation as Degradation
    from qinsight_cli.api.results import Results as Results
    from qinsight_cli.api.results import Score as Score
    from qinsight_cli.api.reward import TaskReward as TaskReward
    from qinsight_cli.core.errors import QInsightError as QInsightError

__version__ = "0.1.0"

# Name -> the module that has it, which is loaded when the name is first used.
_MODULES = {
    "QInsight": "qinsight_cli.api",
    "QualityMetric": "qinsight_cli.api.metric",
    "Comparison": "qinsight_cli.api.results",
    "Degradation": "qinsight_cli.api.results",
    "Results": "qinsight_cli.api.results",
    "Score": "qinsight_cli.api.results",
    "TaskReward": "qinsight_cli.api.reward",
    "QInsightError": "qinsight_cli.core.errors",
}
__all__ = [
    "Comparison",
    "Degradation",
    "QInsight",
    "QInsightError",
    "QualityMetric",
    "Results",
    "Score",
    "TaskReward",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})

from __future__ import annotations

import pytest

from qinsight_cli.core.data.pseudo_mos import PSEUDO_MOS, PSEUDO_MOS_CLEAN, pseudo_mos
from qinsight_cli.core.tasks.degradation import DISTORTIONS, SEVERITIES


def test_every_damage_has_one_and_more_damage_has_less() -> None:
    assert tuple(PSEUDO_MOS) == DISTORTIONS
    for distortion in DISTORTIONS:
        ratings = [pseudo_mos(distortion, severity) for severity in SEVERITIES]
        assert ratings == sorted(set(ratings), reverse=True)
        assert 1.0 <= ratings[-1] < ratings[0] < PSEUDO_MOS_CLEAN == pseudo_mos("null", "null") <= 5.0


def test_an_unknown_severity() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        pseudo_mos("noise", "worst")

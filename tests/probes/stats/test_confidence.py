"""The level of intervals and its normal quantile belong together."""

from __future__ import annotations

import pytest
from scipy import stats

from diagnose.judge import intervals as judged
from probes.stats import confidence, intervals


def test_the_quantile_is_that_of_the_level_to_the_last_bit() -> None:
    assert float(stats.norm.ppf(0.5 + confidence.LEVEL / 2)) == confidence.Z


def test_probes_and_judge_have_one_level() -> None:
    assert intervals.LEVEL is judged.LEVEL is confidence.LEVEL


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 10), (10, 10), (411, 1000)])
def test_pages_and_probes_write_one_interval_of_a_share(count: int, of: int) -> None:
    from app.panels.confusions import share_interval

    assert share_interval(count, of) == pytest.approx(intervals.wilson(count, of))

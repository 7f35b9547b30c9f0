"""Scores and probe results: what is refused, and that nothing is lost on disk."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from probes.result import DiagnosticError, ProbeResult, Score


@pytest.fixture
def result():
    scores = {"linear/auc": Score(0.75, 0.7, 0.8, 0.5), "cosine/real": Score(0.9, 0.9, 0.9, None, "higher")}
    arrays = {"ids": np.array(["a", "bc"]), "by_epoch": np.eye(3)}
    return ProbeResult("separability", "l2", "teacher", scores, arrays, {"images": 2}, {"folds": 5}, 3, {"numpy": "2"})


def test_a_result_survives_saving(result, tmp_path):
    path = result.save(tmp_path / "deep" / "l2.seed-0")

    loaded = ProbeResult.load(tmp_path / "deep" / "l2.seed-0")

    assert path.name == "l2.seed-0.json"
    assert loaded.to_dict() == result.to_dict()
    for name, array in result.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
    assert sorted(file.name for file in path.parent.iterdir()) == ["l2.seed-0.json", "l2.seed-0.npz"]


def test_another_schema_version_is_refused(result, tmp_path):
    path = result.save(tmp_path / "l2")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))

    with pytest.raises(DiagnosticError, match="must be 1, got 2; run the probe again"):
        ProbeResult.load(tmp_path / "l2")


def test_a_truncated_result_is_refused(result, tmp_path):
    path = result.save(tmp_path / "l2")
    path.write_text(path.read_text()[:40])

    with pytest.raises(DiagnosticError, match="must be a whole probe result"):
        ProbeResult.load(tmp_path / "l2")


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the probe first"):
        ProbeResult.load(tmp_path / "nothing")


@pytest.mark.parametrize("field", ["value", "low", "high"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused(field, number):
    with pytest.raises(ValueError, match=f"`{field}` must be finite"):
        Score(**{"value": 0.5, "low": 0.4, "high": 0.6, field: number})


def test_a_chance_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="`chance` must be finite or None"):
        Score(0.5, 0.4, 0.6, math.nan)


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.7), (0.3, 0.4), (0.6, 0.4)])
def test_an_interval_that_does_not_hold_its_value_is_refused(low, high):
    with pytest.raises(ValueError, match="`low` <= `value` <= `high` must hold"):
        Score(0.5, low, high)


def test_a_result_cannot_be_changed(result):
    with pytest.raises(TypeError):
        result.scores["new"] = Score(0.5, 0.4, 0.6)
    with pytest.raises(AttributeError):
        result.seed = 4


@pytest.mark.parametrize("keep", [0, 30])
def test_truncated_arrays_are_refused(result, tmp_path, keep):
    result.save(tmp_path / "l2")
    arrays = tmp_path / "l2.npz"
    arrays.write_bytes(arrays.read_bytes()[:keep])

    with pytest.raises(DiagnosticError, match="must be a whole probe result"):
        ProbeResult.load(tmp_path / "l2")

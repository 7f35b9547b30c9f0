"""The planted benchmark: what a draw shows, how draws are scored on hand-made records, and the whole of it on tiny images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from diagnose.planted import scores
from diagnose.planted.config import PlantedConfig
from diagnose.planted.draw import Draw
from diagnose.planted.page import page, summary
from diagnose.planted.plan import draws_of, read_records, run_plan
from diagnose.planted.world import Sizes, World, stage
from probes.planted.plant import CUES
from probes.result import DiagnosticError

SIZES = Sizes(train=60, test=30, classes=3)


@pytest.fixture(scope="module")
def world() -> World:
    random = np.random.default_rng(0)
    parts = [(random.integers(60, 190, (count, 3, 16, 16), dtype=np.uint8), np.arange(count) % 4) for count in (200, 160)]
    return World("noise", parts[0], parts[1], ("ant", "bee", "cow", "doe"), teacher=None)  # type: ignore[arg-type]


def test_a_draw_plants_its_cue_in_synthetic_images_alone(world: World) -> None:
    scene = stage(world, cue="corner_mark", strength=1.0, seed=1, sizes=SIZES)

    assert not scene.real.masks.any()
    assert np.array_equal(scene.real.images, scene.real.clean)
    for part in (scene.train, scene.synthetic, scene.more):
        assert part.masks.any(axis=(1, 2)).all()
        assert np.array_equal(np.where(part.masks[:, None], 0, part.images), np.where(part.masks[:, None], 0, part.clean))


def test_no_image_is_in_two_parts_of_a_draw_and_its_classes_are_even(world: World) -> None:
    scene = stage(world, cue=None, strength=0.0, seed=2, sizes=SIZES)

    rows = np.concatenate([part.rows for part in (scene.real, scene.synthetic, scene.more)])
    assert len(np.unique(rows)) == len(rows)
    assert len(np.unique(scene.train.rows)) == len(scene.train.rows) == 60
    for part in (scene.train, scene.real, scene.synthetic):
        assert np.ptp(np.bincount(part.labels, minlength=3)) == 0
    names = np.array(world.class_names)
    assert np.array_equal(names[world.test[1][scene.real.rows]], np.array(scene.class_names)[scene.real.labels])


def test_draws_of_one_seed_show_the_same_images_and_differ_in_the_cue_alone(world: World) -> None:
    first, second = (stage(world, cue=cue, strength=0.9, seed=4, sizes=SIZES) for cue in ("cast", "grating"))

    assert first.class_names == second.class_names
    assert np.array_equal(first.train.clean, second.train.clean)
    assert np.array_equal(first.real.images, second.real.images)
    assert not np.array_equal(first.train.images, second.train.images)


def test_imbalance_makes_one_class_rare_in_synthetic_images_alone(world: World) -> None:
    scene = stage(world, cue=None, strength=0.0, seed=0, sizes=SIZES, imbalance=4.0)

    assert np.bincount(scene.train.labels).max() == pytest.approx(4 * np.bincount(scene.train.labels).min(), rel=0.15)
    assert np.ptp(np.bincount(scene.real.labels)) == 0


def record(
    kind: str, cue: str = "", status: str = "none", family: str | None = None, *, real: float = 0.8, seed: int = 0, score: float = 0.0
) -> dict[str, Any]:
    """Give the record of one draw; the clean student is right on 0.8 of the real images."""
    draw = Draw(kind, cue, 0.9 if kind == "cue" else 0.0, seed)  # type: ignore[arg-type]
    return {
        "name": draw.name,
        "draw": {**draw.__dict__},
        "truth": {"real": real, "synthetic": 0.9, "teacher_real": 0.9, "teacher_synthetic": 0.9, "n": 1000.0},
        "said": {
            "label": "no_gap",
            "status": status,
            "family": family,
            "substance": None,
            "score": score,
            "outcome": {"real": [real, real - 0.03, real + 0.03], "synthetic": [0.5, 0.47, 0.53], "behind_real": [0.1, 0.0, 0.2]},
        },
        "seconds": 1.0,
    }


RECORDS = [
    record("halves"),
    record("imbalance", status="unsettled"),
    record("unused", "grating", status="named", family="frequency", score=0.2),
    record("cue", "cast", "named", "colour", real=0.5, score=0.5),
    record("cue", "ground_colour", "named", "border", real=0.6, score=0.4),
    record("cue", "overlay", "named", "codec", real=0.7, score=0.3),
    record("cue", "blur", "several", real=0.74, score=0.25),
    record("cue", "speckle", real=0.72),
    record("cue", "tone", real=0.79),
]


def test_scores_count_what_fired_what_was_named_and_what_it_cost() -> None:
    found = summary(RECORDS)
    names = {item["draw"]["cue"]: scores.naming(item) for item in scores.positives(RECORDS)}

    assert names == {
        "cast": "right",
        "ground_colour": "right",
        "overlay": "wrong",
        "blur": "open",
        "speckle": "silent",
        "tone": "silent",
    }
    assert scores.costs(RECORDS)["cast-0.9-image_text-s0"] == pytest.approx(0.3)
    assert found["false_alarms"][0] == pytest.approx(1 / 3)
    # Five cues cost 5 points or more (tone costs 1), four of them fire, two are named right and one wrong.
    assert found["power_where_it_costs"][0] == pytest.approx(4 / 5)
    assert found["named_right"][0] == pytest.approx(2 / 4)
    assert found["named_wrong"][0] == pytest.approx(1 / 4)


def test_naming_nothing_is_right_for_a_cue_that_no_exchange_carries_and_any_name_wrong() -> None:
    honest, wrong = record("cue", "tilt", "unnamed", real=0.5), record("cue", "tilt", "named", "texture", real=0.5, seed=1)
    either = record("cue", "vignette", "named", "shape", real=0.5)

    found = summary([record("halves"), record("halves", seed=1), honest, wrong, either])

    assert scores.naming(either) == "right"
    assert found["named_though_no_exchange_carries_it"][0] == pytest.approx(1 / 2)
    assert found["power_where_it_costs"][3] == 1  # the goals count cues that can be named


def test_detection_auc_and_power_come_from_the_scores() -> None:
    positive, null = scores.positives(RECORDS), scores.nulls(RECORDS)

    # Of 18 pairs 12 are right for the nulls at 0, plus 4 of 6 for the one at 0.2, and 4 ties count half.
    assert scores.detection_auc(positive, null) == pytest.approx((8 + 4 + 2) / 18)
    assert scores.power_at(positive, null) == pytest.approx(4 / 6)
    assert scores.detection_auc(positive, []) is None


def test_coverage_counts_intervals_that_hold_the_truth() -> None:
    found = scores.coverage(RECORDS)

    assert found["real"][0] == 1.0
    assert found["synthetic"][0] == 0.0
    assert found["behind_real"][2] == len(RECORDS) - 1


@pytest.mark.parametrize(("values", "where"), [((-0.1, 0.1), 0.5), ((-0.1, -0.05), None), ((0.2, 0.3), None), ((-0.1, 0.3), 0.25)])
def test_losses_change_places_where_a_straight_line_crosses_zero(values: tuple[float, float], where: float | None) -> None:
    assert scores.crossing({0.0: values[0], 1.0: values[1]}) == (None if where is None else pytest.approx(where))


def test_the_page_tells_the_goals_and_every_mistake() -> None:
    text = page(RECORDS, PlantedConfig(), "noise", 1234)

    assert "| power where the cue costs 5 points or more, all cues | at least 90 % | 80 %" in text
    assert "`unused" not in text
    assert "- `grating-0-image_text-s0`: a null; the toolkit says named frequency." in text
    assert "- `overlay-0.9-image_text-s0`: should be texture, cost 10 points; the toolkit says named codec." in text
    assert "- `speckle-0.9-image_text-s0`: should be texture, cost 8 points; the toolkit says none." in text
    assert "`tone-0.9" not in text


BORDER = ("corner_mark", "frame", "edge_bar", "side_band", "round_corners")


def test_a_plan_holds_every_cue_strength_and_null_once_and_grows_at_its_end() -> None:
    config = PlantedConfig(families=("border", "cast"), strengths=(0.5, 0.9), draws=2, nulls=2, dose_draws=1, dose_strengths=(0.0, 0.9))

    names = [draw.name for draw in draws_of(config)]

    assert config.families == (*BORDER, "cast")
    assert len(names) == len(set(names)) == 2 * ((len(BORDER) + 1) * 2) + 4 * 2 + 3 * 2
    assert set(names) < {draw.name for draw in draws_of(config.model_copy(update={"draws": 3}))}
    assert set(PlantedConfig(families=("all",)).families) == set(CUES)
    with pytest.raises(ValidationError, match="`cue` must be one of"):
        PlantedConfig(families=("nothing",))


def test_records_that_were_cut_short_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "draws.jsonl"
    path.write_text(json.dumps(RECORDS[0]) + "\n" + json.dumps(RECORDS[3])[:40])

    assert [item["name"] for item in read_records(path)] == [RECORDS[0]["name"]]
    assert read_records(tmp_path / "nothing.jsonl") == []


@pytest.mark.slow
def test_the_whole_benchmark_runs_on_tiny_images_and_goes_on_where_it_stopped(
    tiny_data: Path, teacher_folder: Path, tmp_path: Path
) -> None:
    config = PlantedConfig(
        data=str(tiny_data / "train-real.parquet"),
        test=str(tiny_data / "test-real.parquet"),
        teacher=str(teacher_folder),
        families=("corner_mark",),
        strengths=(0.9,),
        draws=1,
        nulls=1,
        dose_draws=0,
        classes=3,
        train_images=45,
        test_images=12,
        limit=12,
        epochs=1,
    )

    records = run_plan(config, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    again = run_plan(config.model_copy(update={"nulls": 0}), tmp_path / "out", resume=True)

    assert [item["draw"]["kind"] for item in records] == ["halves", "imbalance", "unused", "weak_teacher", "cue"]
    assert set(records[4]["said"]["place"]) == {"integrated_gradients", "occlusion"}
    assert "## Goals" in text
    assert again == records
    with pytest.raises(FileExistsError, match="--resume"):
        run_plan(config, tmp_path / "out")
    with pytest.raises(DiagnosticError, match="as it was begun"):
        run_plan(config.model_copy(update={"limit": 11}), tmp_path / "out", resume=True)

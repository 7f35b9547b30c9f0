"""What the pages Map and Attribution compute without a page: columns, squares, selections, exports, overlays, and the child process."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.map.address import packed, unpacked
from app.map.chart import map_figure, moved_places, steps_of
from app.map.data import CELLS, Column, RunMap, Whose, cells_of, columns, load_map, rows_of
from app.map.export import as_csv, as_json, as_parquet, as_zip, selection_table
from app.run_store import maps_on_demand
from app.run_store.maps_on_demand import able, ask, command
from app.run_store.overlays import AGAINST, FOR, overlay
from app.run_store.reports import Run, find_runs, load_report
from app.run_store.stored_maps import CAPTUM_METHODS, Eyes, method_title, stored_methods
from probes.result import DiagnosticError, ProbeResult


@pytest.fixture
def run(runs: Path) -> Run:
    return next(run for run in find_runs(runs) if run.name == "made-up")


def many(count: int, maps: int = 1) -> RunMap:
    rng = np.random.default_rng(0)
    places = tuple(rng.normal(size=(count, 2)).astype(np.float32) for _ in range(maps))
    domain = np.where(rng.random(count) < 0.5, "real", "synthetic")
    near = np.zeros((count, 1), dtype=np.int64)
    ids = np.arange(count).astype(str)
    whose = tuple(Whose("t", epoch) for epoch in range(maps))
    return RunMap(ids, np.arange(count) % 10, domain, whose, places, (near,) * maps, (None,) * maps)


def test_the_epochs_of_an_encoder_end_with_the_finished_one(run: Run) -> None:
    data = load_map(run, load_report(run))

    assert data.subjects == ["small-clip", "l2-synthetic-s0", "image_text_contrastive-synthetic-s0"]
    assert data.epochs("l2-synthetic-s0") == [1, 3, None]
    assert data.epochs("small-clip") == [None]


def test_scores_join_the_map_by_id_and_what_is_not_stored_is_left_out(run: Run) -> None:
    report = load_report(run)
    data = load_map(run, report)

    known = columns(run, report, data, "l2-synthetic-s0")

    assert {"Class", "Real or synthetic", "Right or wrong", "How synthetic it looks"} <= set(known)
    scores = known["How synthetic it looks"]
    assert not scores.is_text
    assert scores.values[data.domain == "synthetic"].mean() > scores.values[data.domain == "real"].mean()
    share = (known["Right or wrong"].values[data.domain == "synthetic"] == "right").mean()
    assert 0.7 < share <= 1  # made up with 0.86 of 60 images
    assert "How synthetic it looks" not in columns(run, report, data, "small-clip")


def test_one_point_an_image_up_to_the_limit_and_squares_beyond_that_lose_none() -> None:
    data = many(3000)
    column = Column("Real or synthetic", data.domain.astype(object), ("real", "synthetic"))

    drawn, none = map_figure(data, 0, column)
    squares, cells = map_figure(data, 0, column, most=2000)

    assert none is None
    assert all(trace.type == "scattergl" for trace in drawn.data)
    assert sorted(np.concatenate([trace.customdata for trace in drawn.data]).tolist()) == list(range(3000))
    assert cells is not None
    assert set(squares.data[0].customdata.tolist()) == set(cells.tolist())
    assert squares.data[0].text.sum() == 3000
    synthetic = cells[data.domain == "synthetic"]
    first = squares.data[0].customdata[0]
    assert squares.data[0].marker.color[0] == pytest.approx((synthetic == first).sum() / (cells == first).sum())


def test_a_hundred_thousand_points_are_drawn_by_the_graphics_card_in_few_bytes() -> None:
    data = many(100_000)

    figure, _ = map_figure(data, 0, Column("Class", np.array([f"c{i}" for i in range(10)], dtype=object)[data.labels]))

    assert all(trace.type == "scattergl" for trace in figure.data)
    assert len(figure.to_json()) < 1_200_000  # 8 bytes an image as base64, and what surrounds them
    assert (
        map_figure(data, 0, Column("Class", data.domain.astype(object)))[0].to_json()
        == map_figure(data, 0, Column("Class", data.domain.astype(object)))[0].to_json()
    )


@pytest.mark.parametrize("values", ["class", "score"])
def test_moved_places_are_those_of_a_chart_drawn_anew_and_half_the_bytes_of_single_precision(values: str) -> None:
    data = many(100_000, maps=2)
    score = np.where(np.arange(len(data)) % 7 == 0, np.nan, np.arange(len(data), dtype=float))
    column = (
        Column("Class", np.array([f"c{i}" for i in range(10)], dtype=object)[data.labels]) if values == "class" else Column("Score", score)
    )

    first, anew, moved = map_figure(data, 0, column)[0], map_figure(data, 1, column)[0], moved_places(data, 1, column)

    assert len(moved) == len(anew.data) > 2
    for (x, y), trace, before in zip(moved, anew.data, first.data, strict=True):
        np.testing.assert_array_equal(trace.x, x)
        np.testing.assert_array_equal(trace.y, y)
        np.testing.assert_array_equal(trace.customdata, before.customdata)
    assert sum(x.nbytes + y.nbytes for x, y in moved) == 4 * len(data)


def test_places_keep_their_order_and_distances_to_a_hundredth_of_a_pixel_and_unknown_ones_stay_unknown() -> None:
    data = many(500, maps=2)
    data.places[1][3] = np.nan

    (x, _), (unknown, _) = steps_of(data, 0), steps_of(data, 1)

    (low, high), _ = data.bounds
    np.testing.assert_allclose(x / 65_535, (data.places[0][:, 0] - low) / (high - low), atol=1 / 65_535)
    assert np.flatnonzero(np.isnan(unknown)).tolist() == [3]


def test_a_square_is_where_its_images_are() -> None:
    places = np.array([[0.0, 0.0], [1.0, 1.0], [0.999, 0.0], [np.nan, 0]])

    assert cells_of(places, ((0, 1), (0, 1)), side=2).tolist() == [0, 3, 1, -1]
    assert CELLS > 50


@pytest.mark.parametrize(
    ("event", "rows"),
    [
        ({"selection": {"points": [{"customdata": [3]}, {"customdata": 1}, {"customdata": [3]}]}}, [3, 1]),
        ({"selection": {"points": [{"customdata": [99]}, {"customdata": -1}, {"customdata": "2"}, {"x": 1}, 7, {"customdata": 1.5}]}}, []),
        ({"selection": {}}, []),
        (None, []),
        ({"selection": {"points": {"a": 1}}}, []),
    ],
)
def test_only_rows_that_exist_are_taken_from_a_selection(event: object, rows: list[int]) -> None:
    assert rows_of(event, 10) == rows


def test_exports_hold_the_ids_and_every_column(run: Run) -> None:
    report = load_report(run)
    data = load_map(run, report)
    ids = ["=1+1", 'a,"b"', "real-0"]

    assert as_csv(ids).decode().splitlines() == ["id", "=1+1", '"a,""b"""', "real-0"]
    assert json.loads(as_json(ids, "r", "s", 3)) == {"run": "r", "encoder": "s", "epoch": 3, "ids": ids}
    table = pd.read_parquet(io.BytesIO(as_parquet(selection_table(data, [2, 5], columns(run, report, data, "l2-synthetic-s0"), 1))))
    assert table["id"].tolist() == data.ids[[2, 5]].tolist()
    assert {"x", "y", "Class", "How synthetic it looks"} <= set(table)


def test_a_zip_of_pictures_cannot_write_outside_its_folder(stored: ModuleType) -> None:
    nasty = "../../etc/passwd"
    picture = stored.picture(0, synthetic=False)
    thumbnails = pd.DataFrame({"image": [picture], "domain": ["real"], "class_name": ["cat"]}, index=[nasty])

    with zipfile.ZipFile(io.BytesIO(as_zip([nasty, "not stored"], thumbnails))) as archive:
        names = archive.namelist()
        listing = archive.read("ids.csv").decode()
        assert archive.read(names[1]) == picture

    assert names == ["ids.csv", "images/00000-etc-passwd.png"]
    assert listing.splitlines()[1:] == [f"{nasty},real,cat,images/00000-etc-passwd.png", "not stored,,,"]


def test_an_overlay_leaves_the_picture_at_nothing_and_covers_the_strongest_pixel_at_all(stored: ModuleType) -> None:
    picture = stored.picture(3, synthetic=False)
    values = np.zeros((32, 32))
    values[0, 0], values[31, 31] = 1.0, -1.0

    nothing, whole = (np.asarray(Image.open(io.BytesIO(overlay(picture, values, s, side=32)))) for s in (0.0, 1.0))

    np.testing.assert_array_equal(nothing, np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")))
    assert tuple(whole[0, 0]) == FOR
    assert tuple(whole[31, 31]) == AGAINST
    assert np.ptp(whole[10, 10]) == 0  # grey where the map says nothing
    assert len(overlay(picture, np.full((4, 4), np.nan), 0.5)) > 0


def test_who_can_be_asked_is_said_before_anybody_is(stored: ModuleType, tmp_path: Path) -> None:
    folder = stored.store_complete(tmp_path, "mine")
    run = find_runs(tmp_path)[0]
    name = "l2-synthetic-s0"

    assert able(run, [name]) == ([], "The students' checkpoints are not in this run, and maps of other pictures need them.")
    (folder / "students" / name).mkdir(parents=True)
    (folder / "students" / name / "student.safetensors").touch()
    assert "kept no class weights" in able(run, [name])[1]
    (folder / "class_weights.npy").touch()
    assert able(run, [name, "l2-synthetic-s1"]) == ([name], "")


def test_captums_methods_have_titles_and_stand_behind_the_built_in_ones() -> None:
    from probes.attribution.methods.captum_methods import captum_names

    arrays = {"gallery/captum:LRP/domain": np.zeros((1, 2, 2)), "gallery/occlusion/domain": np.zeros((1, 2, 2)), "gallery/ids": np.zeros(1)}
    result = ProbeResult("attribution", "s", None, {}, arrays | {"teacher/gallery/captum:NoiseTunnel:Lime/domain": np.zeros((1, 2, 2))})

    assert stored_methods([Eyes("s", result), Eyes("t", result, "teacher/")]) == ["occlusion", "captum:LRP", "captum:NoiseTunnel:Lime"]
    assert Eyes("s", result).methods() == ["occlusion", "captum:LRP"]
    titles = [method_title(name) for name in ("grad_cam", "captum:LRP", "captum:NoiseTunnel:Lime", "other")]
    assert titles == ["Grad-CAM", "LRP (captum)", "NoiseTunnel:Lime (captum)", "other"]
    assert set(CAPTUM_METHODS) <= set(captum_names())


def test_a_name_cannot_become_an_option_of_the_child(run: Run) -> None:
    given = command(run, Path("p"), Path("o"), ["--out=/etc", "a b"], "occlusion", 3)

    assert given[-3:] == ["--student=--out=/etc", "--student=a b", "--class=3"]
    assert given[0] == sys.executable


def test_a_child_that_fails_hangs_or_writes_nonsense_is_told_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def child(program: str) -> None:
        monkeypatch.setattr(maps_on_demand, "command", lambda run, picture, out, *rest: [sys.executable, "-c", program.format(out=out)])

    child("import sys; sys.exit('error: `image` must be a whole picture, got none.')")
    with pytest.raises(DiagnosticError, match=r"^`image` must be a whole picture, got none\.$"):
        ask(run, b"x", ["a"], method="occlusion")
    child("import time; time.sleep(30)")
    with pytest.raises(DiagnosticError, match="must answer within 1 seconds"):
        ask(run, b"x", ["a"], method="occlusion", patience=1.0)
    child("import pathlib; pathlib.Path('{out}').write_text('PK')")
    with pytest.raises(DiagnosticError, match="must write whole maps"):
        ask(run, b"x", ["a"], method="occlusion")


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_a_selection_comes_back_from_the_address_as_it_was(case: tuple[int, set[int]]) -> None:
    count, rows = case
    ids = np.array([f"image-{number}" for number in range(count)])

    assert unpacked(packed(sorted(rows), ids), ids) == sorted(rows)


@pytest.mark.parametrize("text", ["", "x", "%%%", "é" * 9, "A" * 5000, "AAAAAAAA"])
def test_an_address_that_is_not_of_this_map_selects_nothing(text: str) -> None:
    ids = np.array([f"image-{number}" for number in range(50)])

    assert unpacked(text, ids) == []
    assert unpacked(packed([1, 2], ids[::-1]), ids) == []


def test_a_selection_too_large_for_an_address_is_left_out() -> None:
    ids = np.arange(100_000).astype(str)
    rows = np.flatnonzero(np.random.default_rng(0).random(len(ids)) < 0.5)

    assert packed(rows.tolist(), ids) == ""

"""Pages Map and Attribution on complete, partial and damaged runs, by Streamlit's own test driver; selections by writing its state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import app
from app.run_store import maps_on_demand
from app.views.attribution import PARTS
from probes.result import DiagnosticError, ProbeResult

ENTRY = Path(app.__file__).with_name("dashboard.py")
PLACE = "map-chosen/{}"


def opened(monkeypatch: pytest.MonkeyPatch, root: Path, run: str, page: str, **asked: object) -> AppTest:
    monkeypatch.setenv("SYNTHGAP_RUNS", str(root))
    test = AppTest.from_file(str(ENTRY), default_timeout=30)
    test.query_params["run"], test.query_params["page"] = run, page
    for name, value in asked.items():
        test.query_params[name] = value
    return test.run()


def words(test: AppTest) -> str:
    blocks = [*test.title, *test.header, *test.subheader, *test.markdown, *test.info, *test.error, *test.warning, *test.caption, *test.code]
    return "\n".join(block.value for block in blocks).replace("\\", "").replace("\u2060", "")


def part(test: AppTest, number: int) -> AppTest:
    """Turn to one of the parts of page Attribution."""
    return next(group for group in test.get("button_group") if group.key == "attribution-part").set_value(PARTS[number]).run()


@pytest.fixture
def mine(runs: Path, tmp_path: Path) -> Path:
    """A complete run that a test may damage."""
    shutil.copytree(runs / "made-up", tmp_path / "mine")
    return tmp_path


@pytest.mark.parametrize("page", ["map", "attribution"])
@pytest.mark.parametrize("run", ["made-up", "partial", "broken", "older", "going"])
def test_no_kind_of_run_fails(monkeypatch: pytest.MonkeyPatch, runs: Path, run: str, page: str) -> None:
    test = opened(monkeypatch, runs, run, page)

    assert not test.exception
    assert len(test.title) == 1
    if run != "made-up":
        assert any("synthgap diagnose" in block.value for block in test.code)


def test_the_map_opens_with_how_far_it_can_be_trusted_and_asks_for_a_selection(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")

    said = words(test)
    assert "this one keeps 40 % near (95 % interval 38 to 42; n = 120 images; by chance it would be 5 %)" in said
    assert "Nothing is selected" in said
    assert not test.code
    (chart,) = test.get("plotly_chart")
    assert "Map of 120 images" in chart.proto.alt


def sent_places(test: AppTest) -> list[dict[str, dict[str, str]]]:
    """Read what is sent beside the chart to move its points."""
    (mover,) = test.get("bidi_component")
    return json.loads(mover.proto.json)["places"]


def test_another_epoch_moves_the_points_and_sends_nothing_but_their_places(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")
    before = test.get("plotly_chart")[0].proto
    drawn = [{"x": trace["x"], "y": trace["y"]} for trace in json.loads(before.spec)["data"]]
    assert sent_places(test) == []

    test.select_slider[0].set_value("epoch 1").run()
    first = sent_places(test)
    test.select_slider[0].set_value("trained").run()

    assert not test.exception
    assert (test.get("plotly_chart")[0].proto.spec, test.get("plotly_chart")[0].proto.id) == (before.spec, before.id)
    assert len(first) == len(drawn)
    assert all(one["x"]["dtype"] == "u2" and one != other for one, other in zip(first, drawn, strict=True))
    assert sent_places(test) == drawn


def test_points_are_drawn_anew_where_the_browser_cannot_move_them(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    monkeypatch.setattr("app.views.map.move_points", lambda places: False)
    test = opened(monkeypatch, runs, "made-up", "map")
    before = test.get("plotly_chart")[0].proto.spec

    test.select_slider[0].set_value("epoch 1").run()

    assert not test.exception
    assert test.get("plotly_chart")[0].proto.spec != before


def test_an_epoch_an_encoder_and_a_colour_can_be_chosen(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")

    test.select_slider[0].set_value("epoch 1").run()
    assert not test.exception
    assert "at epoch 1" in words(test)
    for label in test.selectbox(key="map-colour").options:
        test.selectbox(key="map-colour").set_value(label).run()
        assert not test.exception
    test.selectbox(key="map-by").select_index(0).run()
    assert "embedding of the teacher" in words(test)
    assert not test.select_slider


def test_the_map_opens_with_the_student_that_fails_most(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")

    assert test.selectbox(key="map-by").index == 2
    assert "image-text" in test.selectbox(key="map-by").options[2]


def test_the_chart_is_the_same_to_the_byte_after_a_selection_so_that_it_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")
    before = test.get("plotly_chart")[0].proto.spec

    test.session_state[PLACE.format("made-up")] = ["real-1", "real-4"]
    test.run()

    assert test.get("plotly_chart")[0].proto.spec == before


def test_a_selection_shows_its_images_neighbours_maps_and_exports(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")

    test.session_state[PLACE.format("made-up")] = ["real-1", "real-4", "synthetic-2", "gone"]
    test.selectbox(key="map-by").select_index(1).run()

    assert not test.exception
    said = words(test)
    assert "3 of 120 images: 2 real and 1 synthetic (33 % synthetic; 50 % on the whole map)" in said.replace("**", "")
    assert "Nearest to it in the embedding of the teacher (not on the map)" in said
    assert "share 2 of its 5 nearest images" in said.replace("**", "")
    assert "Orange speaks for it" in said
    labels = [button.label for button in test.get("download_button")]
    assert labels == ["Ids (CSV)", "Ids (JSON)", "Table (parquet)", "3 pictures (zip)"]


def test_images_are_selected_by_name_without_a_mouse(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map")

    test.text_input(key="map-named").set_value("real-3, synthetic-7, nobody").run()
    assert "2 of 120 images" in words(test)
    assert test.query_params["image"] == ["real-3", "synthetic-7"]
    test.text_input(key="map-named").set_value("frog").run()
    assert "12 of 120 images" in words(test)
    test.text_input(key="map-named").set_value("nobody").run()
    assert "is called so" in words(test)
    assert "12 of 120 images" in words(test)


def test_the_address_holds_a_selection_of_many(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    first = opened(monkeypatch, runs, "made-up", "map")
    first.text_input(key="map-named").set_value(", ".join(f"real-{number}" for number in range(13))).run()
    again = opened(monkeypatch, runs, "made-up", "map", selected=first.query_params["selected"])

    assert "image" not in first.query_params
    assert "13 of 120 images" in words(first)
    assert "13 of 120 images" in words(again)


def test_the_address_holds_an_epoch(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map", **{"map-epoch-2": "epoch 1"})

    assert "at epoch 1" in words(test)


def test_the_address_holds_a_selection(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "map", image=["real-3", "../../etc/passwd"])

    assert not test.exception
    assert "1 of 120 images" in words(test)


def test_an_image_without_stored_maps_is_offered_to_be_explained_or_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    test = opened(monkeypatch, runs, "made-up", "map", image=["real-40"])

    assert not test.exception
    assert "No maps of this image are stored" in words(test)
    assert "The students' checkpoints are not in this run" in words(test)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("npz", "must be a whole probe result"),
        ("neighbours", "got arrays that do not fit its 120 images"),
        ("whose", "must hold places and neighbours of every encoder"),
        ("nan", "must hold finite places"),
        ("twice", "must hold each image once"),
        ("failed", "The measurement of small-clip failed"),
        ("gone", "must be saved in the run"),
    ],
)
def test_a_damaged_map_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, mine: Path, damage: str, said: str) -> None:
    stem = mine / "mine" / "probes" / "map" / "small-clip"
    result = ProbeResult.load(stem)
    arrays, params = dict(result.arrays), dict(result.params)
    if damage == "npz":
        stem.with_suffix(".npz").write_bytes(b"PK\x03\x04 cut")
    elif damage == "gone":
        stem.with_suffix(".json").unlink()
    elif damage == "failed":
        path = mine / "mine" / "report.json"
        report = json.loads(path.read_text())
        for record in report["probes"]:
            if record["probe"] == "map":
                record |= {"status": "failed", "error": "ValueError: *made up* <b>failure</b>"}
        path.write_text(json.dumps(report))
    else:
        if damage == "neighbours":
            arrays["neighbours/1"] = arrays["neighbours/1"] + 1000
        elif damage == "whose":
            params["maps"] = [{"subject": "small-clip"}]
        elif damage == "twice":
            arrays["ids"] = np.repeat(arrays["ids"][:1], len(arrays["ids"]))
        else:
            arrays["map/0"] = np.full_like(arrays["map/0"], np.nan)
        ProbeResult("map", "small-clip", None, result.scores, arrays, result.counts, params).save(stem)

    test = opened(monkeypatch, mine, "mine", "map")

    assert not test.exception
    assert said in words(test)
    assert any("synthgap diagnose" in block.value for block in test.code)


def test_without_pictures_ids_can_still_be_exported(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    (mine / "mine" / "thumbnails.parquet").unlink()

    test = opened(monkeypatch, mine, "mine", "map", image=["real-3"])
    other = opened(monkeypatch, mine, "mine", "attribution")

    assert not test.exception
    assert [button.label for button in test.get("download_button")] == ["Ids (CSV)", "Ids (JSON)", "Table (parquet)"]
    assert not other.exception
    assert "The pictures under the maps are not stored" in words(other)


def test_attribution_says_plainly_what_is_uninformative(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "attribution")

    said = words(test).replace("**", "")
    assert not test.exception
    assert "Not to be believed, whatever they look like" in said
    assert len(test.get("image")) > 20
    assert "teacher, looks synthetic: uninformative: no better than the same maps in the wrong places" in said
    said = words(part(test, 1)).replace("**", "")
    assert len(test.get("plotly_chart")) == 3
    assert "more faithful than the same maps in wrong places, by 0.80 (95 % interval 0.70 to 0.90; n = 48 images)" in said
    assert all(len(chart.proto.alt) > 20 for chart in test.get("plotly_chart"))


def test_attribution_can_be_filtered_and_another_method_and_number_chosen(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = opened(monkeypatch, runs, "made-up", "attribution")
    many = len(test.get("image"))

    for key, value in (("attribution-number", "The class"), ("attribution-domain", "Synthetic"), ("attribution-method", "occlusion")):
        next(group for group in test.get("button_group") if group.key == key).set_value(value).run()
        assert not test.exception
    assert len(test.get("image")) < many
    part(test, 2)
    assert not test.exception
    charts = len(test.get("plotly_chart"))
    test.session_state["attribution-by-class"] = True
    test.run()
    assert len(test.get("plotly_chart")) == charts + 1
    assert "Few images of each class were explained" in words(test)
    next(group for group in test.get("button_group") if group.key == "attribution-means").set_value("domain").run()
    assert "no student's maps of this kind passed both tests" in words(test)
    part(test, 1)
    next(group for group in test.get("button_group") if group.key == "attribution-trust").set_value("domain").run()
    assert "not surely more faithful" in words(test).replace("**", "")
    test.multiselect(key="attribution-encoders").set_value([]).run()
    assert "Choose at least one encoder" in words(test)
    assert not test.exception


def test_maps_on_demand_come_from_a_child_and_its_failure_is_text(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    student = "l2-synthetic-s0"
    folder = mine / "mine" / "students" / student
    folder.mkdir(parents=True)
    (folder / "student.safetensors").touch()
    np.save(mine / "mine" / "class_weights.npy", np.eye(4))
    asked: list[list[str]] = []
    methods: list[object] = []

    def answer(run: object, content: bytes, encoders: list[str], **named: object) -> list[maps_on_demand.Answer]:
        asked.append(encoders)
        methods.append(named["method"])
        if len(asked) > 1:
            raise DiagnosticError("`run` must be *free*, got none.")
        return [maps_on_demand.Answer(name, {"zero_shot": np.eye(8)}, {"predicted": 1.0}) for name in encoders]

    monkeypatch.setattr("app.panels.tiles.ask", answer)
    test = part(opened(monkeypatch, mine, "mine", "attribution"), 3)
    pictures = len(test.get("image"))

    test.button(key="attribution-stored-go").click().run()
    assert not test.exception
    assert asked == [["teacher", student]]
    assert len(test.get("image")) == pictures + 3  # the picture and two encoders
    assert "takes it for automobile" in words(test)
    test.selectbox(key="attribution-stored-method").set_value("captum:DeepLift")
    test.button(key="attribution-stored-go").click().run()
    assert methods == ["integrated_gradients", "captum:DeepLift"]
    assert not test.exception
    assert "The maps could not be computed" in words(test)
    assert "must be *free*" in words(test)


def test_names_and_classes_are_never_markup(monkeypatch: pytest.MonkeyPatch, stored: ModuleType, tmp_path: Path) -> None:
    nasty = ["<script>alert(1)</script>", "**bold**", "[x](javascript:alert(1))", ":red[red]", "$x$", "a|b"]
    stored.store_complete(tmp_path, "<b>run*x*", classes=nasty)

    for page, asked in (("map", {"image": ["real-0", "real-1"]}), ("attribution", {})):
        test = opened(monkeypatch, tmp_path, "<b>run*x*", page, **asked)

        assert not test.exception
        said = "\n".join(block.value for block in [*test.markdown, *test.caption, *test.info])
        assert not any(name in said for name in nasty)
        assert not any(block.allow_html for block in test.markdown)


def test_an_older_attribution_without_maps_says_so(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    shutil.rmtree(mine / "mine" / "probes" / "attribution")

    test = opened(monkeypatch, mine, "mine", "attribution")

    assert not test.exception
    assert "Attribution maps are not stored with this report" in words(test)
    assert any("synthgap diagnose" in block.value for block in test.code)

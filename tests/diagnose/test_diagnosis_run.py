"""One diagnosis from images to files: what is written, what is used again, and what happens when something breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from diagnose import probe_runs, run
from diagnose.inputs.subjects import Images, Subject
from diagnose.report import assemble as reports
from diagnose.schema import Report
from probes.probe_input import ProbeInput
from probes.registry import PROBES
from probes.result import DiagnosticError, ProbeResult, Score


def counted(subject: Subject) -> tuple[Subject, list[int]]:
    """Give the subject with an encoder that notes the size of each batch."""
    calls: list[int] = []

    def encode(images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return subject.encode(images)

    return replace(subject, encode=encode), calls


def go(students: list[Subject], teacher: Subject, out: Path, real: Images | None, synthetic: Images | None, **more: object) -> Report:
    settings = {"class_weights": np.eye(4, 3), "name": "trial", "probes": ("transfer",)} | more
    return run.diagnose(students, teacher, real=real, synthetic=synthetic, out=out, **settings)  # type: ignore[arg-type]


def test_a_whole_diagnosis_finds_the_text_target_and_writes_every_file(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    found = go(students, teacher, tmp_path, real, synthetic)

    assert found.verdict.label == "text_target_costs_real_accuracy"
    assert reports.read(tmp_path) == found
    assert {"report.json", "report.html", "junit.xml", "thumbnails.parquet", "done"} <= {path.name for path in tmp_path.iterdir()}
    assert all((tmp_path / record.path).is_file() for record in found.probes)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_three_probes_and_checkpoints_reach_findings_and_arrays(
    teacher: Subject, students: list[Subject], real: Images, synthetic: Images, tmp_path: Path
) -> None:
    later = students[2]
    epochs = {epoch: lambda: later.encode for epoch in (0, 1)}

    found = go([replace(later, checkpoints=epochs)], teacher, tmp_path, real, synthetic, probes=("transfer", "separability", "drift"))

    prefixes = {item.id.split("/")[0] for item in found.findings}
    result = ProbeResult.load(tmp_path / "probes" / "drift" / later.name)
    assert {"outcome", "controls", "loss", "separability", "drift"} <= prefixes
    assert result.arrays["epochs"].tolist() == [0, 1]
    assert result.arrays["cosine/real/by_epoch"].shape == (2, 3)


def test_edited_images_are_asked_for_and_another_number_is_measured_anew(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    probe = probe_runs.measure

    def measure(name: str, student: ProbeInput, teacher: ProbeInput, *, edited: int | None, **more: object) -> ProbeResult:
        asked.append(edited)
        found = probe("transfer", student, teacher, **more)  # type: ignore[arg-type]
        return replace(found, probe=name, arrays={**found.arrays, "edits": np.array([], dtype=str)})

    monkeypatch.setattr(probe_runs, "measure", measure)
    for edited in (4, 4, 6, None):
        go(students[:1], teacher, tmp_path, real, synthetic, probes=("interventions",), edited=edited)

    assert asked == [4, 6, None]  # the second 4 was measured already


def test_a_second_diagnosis_embeds_nothing_anew_and_says_the_same(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    first = go(students[:2], teacher, tmp_path, real, synthetic)
    again, calls = counted(students[0])

    second = go([again, students[1]], teacher, tmp_path, real, synthetic)

    assert max(calls) <= 8  # the few images of the key
    assert first.model_dump(exclude={"created"}) == second.model_dump(exclude={"created"})


def test_other_weights_or_other_images_are_embedded_anew(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    go(students[:1], teacher, tmp_path, real, synthetic)
    other, calls = counted(replace(students[0], weights_hash="other"))
    go([other], teacher, tmp_path, real, synthetic)
    darker = replace(real, pixels=real.pixels // 2, fingerprint="")
    same, more = counted(students[0])
    go([same], teacher, tmp_path, darker, synthetic)

    assert sum(calls) >= len(real) + len(synthetic)
    assert sum(more) >= len(real) + len(synthetic)


def test_an_interrupted_diagnosis_goes_on_where_it_stopped(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = PROBES["transfer"].function
    measured: list[str] = []

    def stopped(student: object, teacher: object, **named: object) -> ProbeResult:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(student.name)  # type: ignore[attr-defined]
        return transfer(student, teacher, **named)

    monkeypatch.setitem(PROBES, "transfer", replace(PROBES["transfer"], function=stopped))
    with pytest.raises(KeyboardInterrupt):
        go(students[:3], teacher, tmp_path, real, synthetic)
    assert not (tmp_path / "done").exists()
    measured.clear()
    found = go(students[:3], teacher, tmp_path, real, synthetic)

    assert measured == [students[2].name]
    assert (tmp_path / "done").is_file()
    assert all(record.status == "done" for record in found.probes)


def test_a_probe_that_raises_is_recorded_and_the_others_go_on(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*tables: object, **named: object) -> ProbeResult:
        raise ValueError("`neighbours` must be fewer.")

    monkeypatch.setitem(PROBES, "drift", replace(PROBES["drift"], function=broken))

    found = go(students[:1], teacher, tmp_path, real, synthetic, probes=("drift", "transfer"))

    by_probe = {record.probe: record for record in found.probes}
    assert by_probe["drift"].status == "failed"
    assert by_probe["drift"].error == "ValueError: `neighbours` must be fewer."
    assert by_probe["transfer"].status == "done"
    assert any(item.id == "missing" and "neighbours" in item.statement for item in found.findings)


def test_an_encoder_that_raises_does_not_cost_the_others_their_report(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    def broken(images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    found = go([students[0], replace(students[1], encode=broken)], teacher, tmp_path, real, synthetic)

    assert [student.zero_shot.real is None for student in found.students] == [False, True]
    assert [record.status for record in found.probes] == ["done", "failed"]


@pytest.mark.parametrize("domain", ["real", "synthetic"])
def test_one_domain_alone_is_inconclusive_but_gives_its_accuracy(
    domain: str, students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    given = {"real": real, "synthetic": None} if domain == "real" else {"real": None, "synthetic": synthetic}

    found = go(students[:1], teacher, tmp_path, **given)

    missing = "synthetic" if domain == "real" else "real"
    assert found.verdict.label == "inconclusive"
    assert f"No {missing} images were given" in found.verdict.statement
    assert all(record.status == "failed" for record in found.probes)
    assert getattr(found.students[0].zero_shot, domain).value > 0.5
    assert getattr(found.students[0].zero_shot, missing) is None


def test_ids_that_occur_in_both_domains_are_told_apart(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    twin = replace(synthetic, ids=real.ids)

    go(students[:1], teacher, tmp_path, real, twin)

    ids = ProbeResult.load(tmp_path / "probes" / "transfer" / students[0].name).arrays["ids"]
    assert ids[0] == "real/real-0"
    assert len(set(ids.tolist())) == len(real) + len(twin)


def test_names_that_are_no_file_names_stay_inside_the_run(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    names = ["../../evil", "a/b", "a b", "."]

    found = go([replace(students[0], name=name) for name in names], teacher, tmp_path / "out", real, synthetic)

    paths = [tmp_path / "out" / record.path for record in found.probes]
    assert len(set(paths)) == len(names)
    assert all(path.resolve().is_relative_to((tmp_path / "out" / "probes" / "transfer").resolve()) and path.is_file() for path in paths)


def test_thumbnails_are_bounded_and_the_disputed_images_come_first(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    go(students, teacher, tmp_path, real, synthetic)

    table = pq.read_table(tmp_path / "thumbnails.parquet")
    first = table.to_pylist()[0]
    right = [ProbeResult.load(tmp_path / "probes" / "transfer" / s.name) for s in students]
    place = right[0].arrays["ids"].tolist().index(first["id"])
    votes = sum(bool(result.arrays["correct"][place]) for result in right)
    assert table.column_names == ["id", "image", "domain", "label", "class_name"]
    assert table.num_rows <= 400
    assert first["image"].startswith(b"\x89PNG")
    assert 0 < votes < len(students)


def test_progress_names_the_work_and_reaches_its_end(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []

    go(students[:1], teacher, tmp_path, real, synthetic, progress=lambda *step: seen.append(step))

    assert ("students", 1, 1) in seen
    assert (f"embed {students[0].name}", 300, 300) in seen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"students": []}, "`subjects` must hold at least one student"),
        ({"real": None, "synthetic": None}, "must not both be None"),
        ({"probes": ("transfr",)}, "`probes` must be among .*got 'transfr'"),
        ({"class_weights": np.eye(4, 2)}, r"`class_weights` must have shape \(D, 3\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    change: dict, message: str, students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    arguments = {"students": students[:1], "teacher": teacher, "out": tmp_path, "real": real, "synthetic": synthetic} | change

    with pytest.raises(ValueError, match=message):
        go(**arguments)


def test_a_student_named_like_the_teacher_is_refused(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="must be unique"):
        go([replace(students[0], name=teacher.name)], teacher, tmp_path, real, synthetic)


def test_domains_with_other_classes_are_refused(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="`class_names` of real and synthetic"):
        go(students[:1], teacher, tmp_path, real, replace(synthetic, class_names=("cat", "dog", "car")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((150, 3, 4, 4), np.float32)}, "`pixels` .* must be uint8"),
        ({"labels": np.full(150, 3)}, r"`labels` .* must be in \[0, 3\)"),
        ({"ids": np.zeros(150)}, "`ids` .* must be unique"),
        ({"labels": np.zeros(3)}, "`labels` .* one entry for each of the 150 ids"),
    ],
)
def test_images_that_do_not_fit_are_refused(change: dict, message: str, real: Images) -> None:
    with pytest.raises(ValueError, match=message):
        replace(real, **change)


def test_a_report_of_another_schema_or_no_report_is_refused(
    tmp_path: Path, students: list[Subject], teacher: Subject, real: Images, synthetic: Images
) -> None:
    found = go(students[:1], teacher, tmp_path, real, synthetic)
    data = json.loads(found.model_dump_json())
    (tmp_path / "other.json").write_text(json.dumps(data | {"schema_version": 99}))
    (tmp_path / "broken.json").write_text('{"name": 1')

    with pytest.raises(DiagnosticError, match=r"`schema_version` of .* must be 1, got 99"):
        reports.read(tmp_path / "other.json")
    with pytest.raises(DiagnosticError, match="must be a whole report"):
        reports.read(tmp_path / "broken.json")
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        reports.read(tmp_path / "nowhere")


def test_junit_counts_failures_errors_and_skipped(tmp_path: Path, students: list[Subject], teacher: Subject, real: Images) -> None:
    found = go(students[:1], teacher, tmp_path, real, None, about="a \x00 b")

    root = xml.parse(tmp_path / "junit.xml").getroot()

    assert int(root.attrib["errors"]) == len([record for record in found.probes if record.status == "failed"]) == 1
    assert int(root.attrib["tests"]) == len(list(root.iter("testcase")))


def test_scores_of_a_report_are_those_of_the_saved_results(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path
) -> None:
    found = go(students[:1], teacher, tmp_path, real, synthetic)

    saved = ProbeResult.load((tmp_path / found.probes[0].path).with_suffix(""))
    assert {name: Score(**score) for name, score in found.probes[0].scores.items()} == dict(saved.scores)

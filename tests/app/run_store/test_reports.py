"""Finding and reading runs, and never outside the runs folder."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from app.run_store.reports import Run, count_words, find_runs, load_probe, load_progress, load_report, load_thumbnails, records
from diagnose.schema import ProbeRecord
from probes.result import DiagnosticError


def run_at(folder: Path) -> Run:
    return Run(folder.name, folder.resolve(), folder.parent.resolve())


def test_runs_of_every_kind_are_found_with_their_state(runs: Path) -> None:
    states = {run.name: run.state for run in find_runs(runs)}

    assert states == {"made-up": "done", "partial": "report only", "broken": "done", "older": "done", "going": "going"}


def test_the_newest_run_comes_first(tmp_path: Path) -> None:
    import os

    for age, name in enumerate(("newest", "middle", "oldest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()
        os.utime(tmp_path / name / "config.toml", (1e9 - age, 1e9 - age))

    assert [run.name for run in find_runs(tmp_path)] == ["newest", "middle", "oldest"]


def test_a_missing_or_empty_folder_holds_no_runs(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()

    assert find_runs(tmp_path) == []
    assert find_runs(tmp_path / "absent") == []


def test_a_link_out_of_the_runs_folder_is_not_a_run(stored: ModuleType, tmp_path: Path) -> None:
    outside = stored.store_partial(tmp_path / "outside")
    inner = tmp_path / "runs"
    inner.mkdir()
    (inner / "link").symlink_to(outside)

    assert find_runs(inner) == []


def test_a_linked_report_out_of_the_run_is_refused(stored: ModuleType, tmp_path: Path) -> None:
    outside = stored.store_partial(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "report.json").symlink_to(outside / "report.json")

    with pytest.raises(DiagnosticError, match="must lie inside the run"):
        load_report(run_at(folder))


@pytest.mark.parametrize("path", ["../partial/report.json", "/etc/hostname", "probes/../../partial/report"])
def test_a_record_that_points_out_of_the_run_is_refused(runs: Path, path: str) -> None:
    record = ProbeRecord(probe="transfer", subject="x", status="done", path=path)

    with pytest.raises(DiagnosticError, match="must lie inside the run"):
        load_probe(run_at(runs / "made-up"), record)


def test_a_probe_result_is_read_by_its_record(runs: Path) -> None:
    run = run_at(runs / "made-up")
    held = records(load_report(run), "transfer")
    name = "image_text_contrastive-synthetic-s1"

    result = load_probe(run, held[name])

    assert result.subject == name
    assert result.scores["zero_shot/real"].value == pytest.approx(0.433)
    assert next(iter(held)) == "l2-synthetic-s0"


def test_a_changed_report_is_read_anew(stored: ModuleType, tmp_path: Path) -> None:
    folder = stored.store_partial(tmp_path)
    first = load_report(run_at(folder))
    data = json.loads((folder / "report.json").read_text()) | {"name": "another name"}
    (folder / "report.json").write_text(json.dumps(data))

    assert first.name == "partial"
    assert load_report(run_at(folder)).name == "another name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be whole JSON"),
        ('{"schema_version": 1', "must be whole JSON"),
        ("[]", "got None; diagnose the run again"),
        ('{"schema_version": 2}', "must be 1, got 2"),
        ('{"schema_version": 1, "name": "x"}', "faults, the first at `created`"),
        ("\x00\xff", "must be whole JSON"),
    ],
)
def test_a_broken_report_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(DiagnosticError, match=message) as caught:
        load_report(run_at(tmp_path))
    assert "diagnose the run again" in str(caught.value)


def test_progress_passes_over_lines_that_are_not_rows(tmp_path: Path) -> None:
    good = {"student": "a", "epoch": 1, "zero_shot_real": 0.5, "note": "text"}
    (tmp_path / "metrics.jsonl").write_text(f'{json.dumps(good)}\nnot json\n[1]\n3\n{{"epoch": 2}}\n{{"student": "a", "ep')

    assert load_progress(run_at(tmp_path)) == {"a": [{"epoch": 1.0, "zero_shot_real": 0.5}]}


def test_thumbnails_that_are_no_small_images_are_left_out(stored: ModuleType, tmp_path: Path) -> None:
    images = [stored.picture(0, False), b"<svg onload=alert(1)>", b"\x89PNG but not", b"x" * 2_000_000]
    rows = {"id": list("abcd"), "image": images, "domain": "real", "label": 0, "class_name": "cat"}
    pd.DataFrame(rows).to_parquet(tmp_path / "thumbnails.parquet")

    assert list(load_thumbnails(run_at(tmp_path)).index) == ["a"]


def test_damaged_thumbnails_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thumbnails.parquet").write_bytes(b"PAR1 nothing")

    with pytest.raises(DiagnosticError, match="must hold the columns id, image"):
        load_thumbnails(run_at(tmp_path))


def test_commands_quote_the_path_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "my run; rm"
    folder.mkdir()

    assert run_at(folder).diagnose_command == f"synthgap diagnose '{folder}'"
    assert run_at(folder).resume_command.endswith("--resume")


def test_commands_are_relative_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)

    assert run_at(tmp_path / "runs" / "a").diagnose_command == "synthgap diagnose runs/a"


def test_a_result_without_its_arrays_is_said_to_lack_them(tmp_path: Path, stored: ModuleType) -> None:
    run = run_at(stored.store_complete(tmp_path))
    record = next(record for record in load_report(run).probes if record.status == "done")
    (run.path / "probes" / record.probe / f"{record.subject}.npz").unlink()

    with pytest.raises(FileNotFoundError, match=rf"got no probes/{record.probe}/.*\.npz"):
        load_probe(run, record)


def test_a_run_has_students_once_one_is_trained(tmp_path: Path) -> None:
    folder = tmp_path / "students" / "a"
    folder.mkdir(parents=True)

    assert not run_at(tmp_path).has_students
    (folder / "student.safetensors").touch()
    assert run_at(tmp_path).has_students


def test_counts_read_as_words() -> None:
    assert count_words({"images/real": 5000, "classes": 10, "images/sampled_per_domain": 20}) == (
        "5,000 real images, 10 classes, 20 images of each kind drawn at random"
    )

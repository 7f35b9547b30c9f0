"""A new probe by the places of its recipe: one row in `PROBES` is enough to be listed, measured, kept, judged and named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest

from app.terminal.inputs import check_probes
from diagnose import run
from diagnose.inputs.subjects import Images, Subject
from diagnose.judge import conditions
from diagnose.schema import Report
from probes.embeddings import EmbeddingTable
from probes.probe_input import ProbeInput
from probes.registry import PROBES, ProbeSpec, find_probe, probe_names
from probes.result import ProbeResult, Score

DOCS = Path(run.__file__).parents[1] / "docs" / "probes"


class Toy:
    """A probe that measures how many rows there are, and notes what it was given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, object]] = []

    def __call__(self, student: object, teacher: object, **settings: object) -> ProbeResult:
        self.calls.append({"student": student, "teacher": teacher, **settings})
        table = student.table if isinstance(student, ProbeInput) else student
        assert isinstance(table, EmbeddingTable)
        count = float(len(table))
        return ProbeResult("toy", table.name, None, {"rows/all": Score(count, count, count)}, counts={"images": len(table)})


def toy_probe(needs: str, **more: object) -> tuple[ProbeSpec, Toy]:
    toy = Toy()

    def function(student: object, teacher: object, **settings: object) -> ProbeResult:
        return toy(student, teacher, **settings)

    return ProbeSpec("toy", function, needs, "how many rows are there?", **more), toy  # type: ignore[arg-type]


def diagnose(students: list[Subject], teacher: Subject, real: Images, synthetic: Images, out: Path, **more: object) -> Report:
    settings = {"class_weights": np.eye(4, 3), "name": "trial", "probes": ("transfer", "toy")} | more
    return run.diagnose(students, teacher, real=real, synthetic=synthetic, out=out, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("needs", ["tables", "images"])
def test_a_probe_with_a_row_is_listed_measured_kept_judged_and_named(
    needs: str,
    students: list[Subject],
    teacher: Subject,
    real: Images,
    synthetic: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, toy = toy_probe(needs)
    monkeypatch.setitem(PROBES, "toy", spec)

    first, again = (diagnose(students[:1], teacher, real, synthetic, tmp_path) for _ in range(2))

    name = students[0].name
    assert "toy" in probe_names()
    assert "toy" in run.diagnosis_names()
    check_probes(["toy"])  # the command line
    [call] = toy.calls  # the second diagnosis reads the result back
    assert isinstance(call["student"], EmbeddingTable if needs == "tables" else ProbeInput)
    assert ("progress" in call) == (needs == "images")
    assert "logit_scale" not in call
    record = next(record for record in first.probes if record.probe == "toy")
    assert (record.status, record.scores["rows/all"]["value"]) == ("done", 300.0)
    assert [kept.scores for kept in again.probes if kept.probe == "toy"] == [record.scores]
    assert ProbeResult.load((tmp_path / record.path).with_suffix("")).scores["rows/all"].value == 300.0
    assert [outcome.holds for outcome in conditions.check(first, ["toy/rows/all > 299", "toy/rows/all > 300"])] == [True, False]
    with pytest.raises(ValueError, match="add --probe toy"):
        conditions.foresee(["toy/rows/all > 1"], [name], ["transfer"])
    assert f"toy of {name}" in {case.get("name") for case in xml.parse(tmp_path / "junit.xml").getroot().iter("testcase")}


def test_a_probe_is_given_the_settings_that_its_row_accepts_and_measured_anew_for_others(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, toy = toy_probe("images", accepts={"edited": "most", "logit_scale": "scale"})
    monkeypatch.setitem(PROBES, "toy", spec)

    for edited in (4, 4, 6, None):
        diagnose(students[:1], teacher, real, synthetic, tmp_path, edited=edited, logit_scale=50.0)

    assert [(call.get("most"), call["scale"]) for call in toy.calls] == [(4, 50.0), (6, 50.0), (None, 50.0)]


def test_a_probe_that_follows_a_training_is_given_the_table_of_every_epoch(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def function(student: EmbeddingTable, teacher: object, *, epochs: dict | None = None, **settings: object) -> ProbeResult:
        asked.append({} if epochs is None else {epoch: len(table) for epoch, table in epochs.items()})
        arrays = {} if epochs is None else {"epochs": np.array(sorted(epochs)), "rows/by_epoch": np.ones(len(epochs))}
        return ProbeResult("toy", student.name, None, {"rows/all": Score(1.0, 1.0, 1.0)}, arrays)

    monkeypatch.setitem(PROBES, "toy", ProbeSpec("toy", function, "tables", "?", {"checkpoints": "epochs"}))
    followed = replace(students[0], checkpoints={epoch: (lambda: students[0].encode) for epoch in (1, 3)})

    diagnose([followed], teacher, real, synthetic, tmp_path, probes=("toy",))

    result = ProbeResult.load(tmp_path / "probes" / "toy" / followed.name)
    assert asked == [{}, {1: 300, 3: 300}]
    assert result.arrays["epochs"].tolist() == [1, 3]
    assert result.scores["rows/all"].value == 1.0


def test_a_probe_that_raises_is_named_on_the_page_with_its_error(
    students: list[Subject], teacher: Subject, real: Images, synthetic: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*tables: object, **settings: object) -> ProbeResult:
        raise ValueError("`rows` must be even.")

    monkeypatch.setitem(PROBES, "toy", ProbeSpec("toy", broken, "tables", "?"))

    report = diagnose(students[:1], teacher, real, synthetic, tmp_path)

    assert any(
        finding.id == "missing" and finding.statement.startswith("Toy failed for") and "must be even" in finding.statement
        for finding in report.findings
    )
    assert "<td>toy</td>" in (tmp_path / "report.html").read_text()


def test_every_probe_has_a_docs_page_headed_by_its_question() -> None:
    headings = {line for path in DOCS.glob("*.md") for line in path.read_text(encoding="utf-8").splitlines() if re.match("# ", line)}

    assert {f"# {name}: {spec.question}" for name, spec in PROBES.items()} <= headings


def test_a_row_with_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`accepts` of 'toy' must be among .*got 'temperature'"):
        toy_probe("tables", accepts={"temperature": "temperature"})


def test_a_probe_is_found_under_its_own_name() -> None:
    assert all(find_probe(name) is spec and spec.name == name for name, spec in PROBES.items())

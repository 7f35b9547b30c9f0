"""The shape of `report.json`: what the diagnosis hands to the page, the dashboard and to machines."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

REPORT_SCHEMA_VERSION = 1

FindingVerdict = Literal["pass", "warn", "fail", "inconclusive"]
Target = Literal["image", "text"]
TextSpaceOf = Literal["own", "teacher"]
"""Whose texts a student is scored with: those of its own text tower, or its teacher's."""


class Strict(BaseModel):
    """Base of all parts: frozen, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(Strict):
    """A number with its 95 % interval and the count it rests on (images, or seeds where `over` says so)."""

    value: float
    low: float
    high: float
    n: int
    over: Literal["images", "seeds", "seeds and images"] = "images"


class ZeroShot(Strict):
    """Zero-shot accuracy in [0, 1] on held-out images of the two domains; None where a domain is not given."""

    real: Estimate | None
    synthetic: Estimate | None


class Teacher(Strict):
    """The frozen teacher."""

    name: str
    params: int
    zero_shot: ZeroShot


class Student(Strict):
    """One student: `name` is unique in the report, `loss` is shared by the seeds of one loss."""

    name: str
    params: int
    zero_shot: ZeroShot
    loss: str | None = None
    seed: int | None = None
    trained_on: str | None = None
    target: Target | None = None
    negatives: bool | None = None
    text_space: TextSpaceOf | None = None
    """Whose texts `zero_shot` is measured with; None in reports of older versions."""
    levels: dict[str, str] = Field(default_factory=dict)
    """Factor -> level of the recipe, read from it; a factor without meaning for this student is absent."""
    curve: list[dict[str, float]] = Field(default_factory=list)
    """One row an epoch: `epoch`, `loss`, `zero_shot_real`, `zero_shot_synthetic`, and one entry for each term."""


class Evidence(Strict):
    """A number behind a finding: what it is, the students it is about, and the probe scores it came from."""

    what: str
    estimate: Estimate
    unit: Literal["points", "share", "AUC", "cosine", "none"] = "none"
    teacher: Estimate | None = None
    source: str = ""


class Alternative(Strict):
    """Another explanation: ruled out, not ruled out, or untested, and what says so."""

    name: str
    status: Literal["ruled out", "not ruled out", "untested", "supported"]
    because: str


class Finding(Strict):
    """One judged statement in plain words with its evidence."""

    id: str
    probe: str
    verdict: FindingVerdict
    statement: str
    evidence: list[Evidence] = Field(default_factory=list)
    alternatives: list[Alternative] = Field(default_factory=list)
    students: list[str] = Field(default_factory=list)
    recommendation: str = ""


class Factor(Strict):
    """What one property of the loss costs on real images: points, and share of what the students are behind their teacher there."""

    name: str
    share: Estimate | None
    points: Estimate
    statement: str


class Division(Strict):
    """How far the students `end` are behind their teacher on real images, divided among factors; shares and remainder add up to 1."""

    start: str
    """Students that differ from `end` in every one of the factors."""
    end: str
    gap: Estimate
    """Teacher's accuracy on real images minus that of `end`."""
    parts: list[Factor]
    remainder: Factor
    """Teacher's accuracy minus that of `start`: what none of the factors explains."""
    orders: int
    """Orders of switching the factors of which every cell was trained; Shapley values where it is all `possible` ones."""
    possible: int
    statement: str


class LevelContrast(Strict):
    """Students that differ in one factor of the recipe alone: accuracy with `level` minus accuracy with `against`."""

    factor: str
    level: str
    against: str
    having: str
    other: str
    real: Estimate
    synthetic: Estimate
    statement: str


class Verdict(Strict):
    """The answer: a label for machines, and sentences for people."""

    label: str
    statement: str


class ProbeRecord(Strict):
    """One probe of one encoder: where its result lies, or why it failed; scores are repeated for readers without the files."""

    probe: str
    subject: str
    status: Literal["done", "failed"]
    path: str = ""
    error: str = ""
    scores: dict[str, dict[str, Any]] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)


class Report(Strict):
    """The whole of `report.json`."""

    schema_version: int = REPORT_SCHEMA_VERSION
    name: str
    created: str
    class_names: list[str]
    about: str = ""
    """One paragraph on the data: where they come from and what was chosen."""
    teacher: Teacher
    students: list[Student]
    findings: list[Finding]
    factors: list[Factor]
    text_minus_negatives: Estimate | None = None
    """Cost of the text target minus cost of the negatives, paired over seeds and images: which of the two costs more. None where one of
    them is not known, and in reports of versions that did not write it."""
    divisions: list[Division] = Field(default_factory=list)
    contrasts: list[LevelContrast] = Field(default_factory=list)
    verdict: Verdict
    probes: list[ProbeRecord] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)

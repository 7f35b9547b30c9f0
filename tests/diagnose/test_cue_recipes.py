"""A new edit, exchange and family of cues by the places of their recipes: measured, judged and named in words by report and dashboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from app.panels.edits import KINDS, edit_words, family_word, kind_of
from diagnose.inputs.subjects import Subject
from diagnose.judge.causes import Cause, find_cause
from diagnose.judge.evidence import gather
from diagnose.report.cause_findings import cause_findings, cause_sentence
from diagnose.schema import Finding
from probes.edits import EDITS, EXCHANGES, FAMILIES, Edit, Exchange, Family, Material
from probes.edits.regions import WINDOWS
from probes.embeddings import embed
from probes.interventions import probe as interventions_probe
from probes.interventions.probe import interventions
from probes.planted.cue import Cue, diagnosed_family
from probes.probe_input import ProbeInput
from probes.result import ProbeResult
from probes.transfer.probe import transfer

CLASSES, SIDE, COUNT = 4, 8, 60
DOCS = Path(interventions_probe.__file__).parents[2] / "docs" / "probes" / "interventions.md"


def blank_row(images: torch.Tensor) -> torch.Tensor:
    """Paint the last row of pixels grey."""
    edited = images.clone()
    edited[..., -1, :] = 0.5
    return edited


def exchange_row(material: Material) -> torch.Tensor:
    """Take the last row of pixels from the partner."""
    assert material.partner is not None
    edited = material.images.clone()
    edited[..., -1, :] = material.partner[..., -1, :]
    return edited


BLANK = Edit("removes", "texture", lambda material: blank_row(material.images), "the last row painted grey")
ROW = Exchange("texture", exchange_row, "the last row", "the last row of pixels")
FAMILY = Family("the last row of pixels", "last row", "substance", "crop the last row off", planted_as=("footer",))


def reads_object(images: torch.Tensor) -> torch.Tensor:
    """Name the class by which two columns of the upper rows are bright."""
    return images[:, :, :-1].mean(dim=(1, 2)).unflatten(1, (CLASSES, 2)).mean(dim=2)


def reads_row(images: torch.Tensor) -> torch.Tensor:
    """Name the class by which two columns of the last row are bright."""
    return images[:, :, -1].mean(dim=1).unflatten(1, (CLASSES, 2)).mean(dim=2)


@pytest.fixture(scope="module")
def encoders() -> tuple[ProbeInput, ProbeInput]:
    """Return a student that reads the last row, which is of the class on synthetic images and of any on real ones, and its teacher."""
    rng = np.random.default_rng(0)
    labels = np.arange(2 * COUNT) % CLASSES
    domain = np.where(np.arange(2 * COUNT) < COUNT, "real", "synthetic")
    cue = np.where(domain == "synthetic", labels, rng.integers(0, CLASSES, len(labels)))
    images = 0.4 + 0.03 * rng.normal(size=(2 * COUNT, 3, SIDE, SIDE))
    for row, (label, shown) in enumerate(zip(labels, cue, strict=True)):
        images[row, :, :-1, 2 * label : 2 * label + 2] += 0.3
        images[row, :, -1, 2 * shown : 2 * shown + 2] += 0.3
    pixels = (images.clip(0, 1) * 255).round().astype(np.uint8)
    ids = [f"image-{row:03d}" for row in range(len(labels))]

    def encoder(encode: object, name: str) -> ProbeInput:
        table = embed(encode, [torch.from_numpy(pixels)], ids=ids, labels=labels, domain=domain, name=name)  # type: ignore[arg-type]
        return ProbeInput(table, [pixels], encode, tuple("abcd"))  # type: ignore[arg-type]

    return encoder(reads_row, "student"), encoder(reads_object, "teacher")


def judge(encoders: tuple[ProbeInput, ProbeInput], edits: list[str]) -> tuple[ProbeResult, Cause, Finding, str]:
    """Measure these edits and judge: the result, the cause, the finding about it, and the sentence of the verdict."""
    student, teacher = encoders
    weights = np.eye(CLASSES)
    result = interventions(student, teacher, class_weights=weights, edits=edits, draws=200)
    results = {"transfer": {"student": transfer(student.table, teacher.table, class_weights=weights)}, "interventions": {"student": result}}
    subject = Subject("student", reads_row, 10, loss="image_text", trained_on="synthetic", target="text", negatives=True, seed=0)
    facts = gather([subject], Subject("teacher", reads_object, 10), results, classes=CLASSES)
    [finding] = cause_findings(facts)
    return result, find_cause(facts.measured[0]), finding, cause_sentence(facts.measured[0])


def register_exchange(monkeypatch: pytest.MonkeyPatch, name: str, exchange: Exchange) -> list[str]:
    """Do what a row in `EXCHANGES` does when the module is imported; return the names of the edits."""
    monkeypatch.setitem(EXCHANGES, name, exchange)
    for edit, row in exchange.edits(name).items():
        monkeypatch.setitem(EDITS, edit, row)
    return list(exchange.edits(name))


def test_an_edit_with_a_row_is_measured_judged_and_named(encoders: tuple[ProbeInput, ProbeInput], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EDITS, "blank_row", BLANK)

    result, cause, finding, _ = judge(encoders, ["blank_row", "grey"])

    assert result.params["families"]["blank_row"] == "texture"
    assert result.scores["reliance/blank_row"].low > 0.3
    assert abs(result.scores["reliance/grey"].value) < 0.1
    suspect = cause.suspect("texture")
    assert suspect is not None
    assert suspect.blunt is not None
    assert suspect.blunt.edit == "blank_row"
    assert "blank row, beyond teacher and real images (local texture)" in [item.what for item in finding.evidence]
    assert edit_words("blank_row") == "the last row painted grey"
    assert (family_word("blank_row"), kind_of("blank_row")) == ("fine texture", "removes")


def test_an_exchange_with_a_row_makes_two_edits_that_name_the_cue(
    encoders: tuple[ProbeInput, ProbeInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = register_exchange(monkeypatch, "row", ROW)

    result, cause, finding, sentence = judge(encoders, [*names, "grey"])

    assert names == ["matched_row", "swapped_row"]
    assert result.scores["reliance/swapped_row"].low > 0.3
    assert result.scores["gap_closed/matched_row"].low > 0.5
    assert (cause.status, cause.family) == ("named", "texture")
    assert "Image-text reads the class from local texture." in finding.statement
    assert (
        "Given the last row of a synthetic image of" in finding.statement
        or "that gets the last row of a synthetic image" in finding.statement
    )
    assert "given the last row of a synthetic image of their class, real images win back" in sentence
    assert edit_words("swapped_row") == "the last row of pixels, taken from an image of another class"
    assert edit_words("matched_row") == "the last row of pixels, taken from a synthetic image of its own class"


def test_a_family_with_a_row_is_judged_and_named_with_its_remedy(
    encoders: tuple[ProbeInput, ProbeInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "row", FAMILY)
    names = register_exchange(monkeypatch, "row", Exchange("row", ROW.apply, ROW.short, ROW.does))

    result, cause, finding, sentence = judge(encoders, [*names, "matched_detail", "swapped_detail"])

    assert result.params["family_words"]["row"] == "the last row of pixels"
    assert (cause.status, cause.family) == ("named", "row")
    assert "What it relies on is the last row of pixels" in sentence
    assert finding.recommendation.startswith("Crop the last row off: matching this cue closed")
    assert any(item.name == "local texture as the cue of image-text" for item in finding.alternatives)
    assert family_word("swapped_row") == "last row"
    assert (diagnosed_family("row"), diagnosed_family("footer")) == ("row", "row")
    assert Cue("footer", lambda images, variant, style, keys: images).family == "footer"


def test_a_family_that_is_no_place_and_no_mixture_is_named_only_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="`remedy` of the family 'rows' must be a sentence"):
        Family("rows", "rows", "substance")


def test_a_planted_cue_of_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`family` of a planted cue must be one of .*got 'colours'"):
        Cue("colours", lambda images, variant, style, keys: images)
    with pytest.raises(ValueError, match="got 'local'"):  # a mixture is never named
        diagnosed_family("local")


def test_every_edit_belongs_to_a_family_and_has_words() -> None:
    assert {edit.family for edit in EDITS.values()} <= set(FAMILIES)
    assert {edit.kind for edit in EDITS.values()} == set(KINDS)
    assert all(edit.does and bool(edit.short) == edit.partnered for edit in EDITS.values())
    assert {name.partition("_")[2] for name, edit in EDITS.items() if edit.partnered} == set(EXCHANGES)


def test_the_docs_list_every_family_edit_and_exchange() -> None:
    text = DOCS.read_text(encoding="utf-8")

    assert [name for name in FAMILIES if f"\n| `{name}` | " not in text] == []
    assert [name for name, edit in EDITS.items() if not edit.partnered and f"`{name}`" not in text] == []
    assert [name for name in EXCHANGES if f"`{name}`" not in text and name.removeprefix("window_") not in WINDOWS] == []

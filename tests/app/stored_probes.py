"""Build small stored results of the probes that change images, for the dashboard's tests.

Every number and picture is MADE UP; nothing was measured.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from PIL import Image

from diagnose.schema import Division, Estimate, Evidence, Factor, Finding, LevelContrast
from probes.result import ProbeResult, Score

ASKED = 400
"""Images a domain that the counts name; the arrays hold fewer."""

EDITS = ("grey", "hue", "border_only", "patch_shuffle_4", "swapped_chroma", "swapped_border", "matched_chroma", "matched_border")
KINDS = {"grey": "removes", "hue": "removes", "border_only": "isolates", "patch_shuffle_4": "isolates"}
RUNGS = ("raw", "codec", "resize", "grey", "low_pass")


def score(value: float, half: float = 0.02, chance: float | None = None) -> Score:
    """Make a score with a symmetric interval."""
    return Score(value, value - half, value + half, chance)


def _used(loss: str, trained_on: str, edit: str) -> float:
    """Say how much a made-up student uses a cue: the image-text student on synthetic images that of colour and border."""
    if loss != "image_text_contrastive" or trained_on != "synthetic":
        return 0.01
    return {"hue": 0.31, "border_only": 0.22, "swapped_chroma": 0.18, "swapped_border": 0.05, "patch_shuffle_4": 0.12}.get(edit, 0.02)


def interventions(name: str, loss: str, trained_on: str, ids: np.ndarray, domain: np.ndarray, labels: np.ndarray) -> ProbeResult:
    """Make up the interventions of one student; its answers change where it uses the cue."""
    classes, rng = int(labels.max()) + 1, np.random.default_rng(len(name))
    scores: dict[str, Score] = {}
    said = [labels.copy()]
    for edit in ("none", *EDITS):
        used = 0.0 if edit == "none" else _used(loss, trained_on, edit)
        for where, base in (("real", 0.6), ("synthetic", 0.9)):
            scores[f"accuracy/{edit}/{where}"] = score(base - used, 0.04, 1 / classes)
            scores[f"teacher/accuracy/{edit}/{where}"] = score(0.85, 0.03, 1 / classes)
        if edit == "none":
            continue
        if not edit.startswith("matched_"):
            p = 0.0004 if used > 0.1 else 0.6
            scores |= {f"reliance/{edit}": score(used, 0.06, 0.0), f"adjusted_p/{edit}": Score(p, p, p)}
        if edit.startswith("matched_"):
            scores[f"gap_closed/{edit}"] = score(0.45 if edit == "matched_chroma" and used else 0.02, 0.1, 0.0)
        said.append(np.where(rng.random(len(labels)) < used, (labels + 1) % classes, labels))
    prediction = np.stack(said)
    arrays = {
        "edits": np.array(["none", *EDITS]),
        "ids": ids,
        "labels": labels,
        "domain": domain,
        "prediction": prediction,
        "teacher/prediction": np.tile(labels, (len(EDITS) + 1, 1)),
    }
    counts = {"classes": classes, "edits": len(EDITS), "images/real": ASKED, "images/synthetic": ASKED}
    return ProbeResult("interventions", name, "teacher", scores, arrays, counts)


def edited(ids: np.ndarray, domain: np.ndarray, class_names: list[str], labels: np.ndarray, pictures: list[bytes]) -> pd.DataFrame:
    """Make up the table of images before and after every edit: two a domain and edit."""
    rows = []
    for edit in ("none", *EDITS):
        for where in ("real", "synthetic"):
            places = np.flatnonzero(domain == where)[: 4 if edit == "none" else 2]
            for number, place in enumerate(places):
                partner = "" if edit == "none" or edit in KINDS else str(ids[places[0] + 2])
                image = pictures[place] if edit == "none" else _grey(pictures[place])
                row = (str(ids[place]), edit, image, partner, where, class_names[labels[place]], number == 0 and edit != "none")
                rows.append(dict(zip(("id", "edit", "image", "partner", "domain", "class_name", "telling"), row, strict=True)))
    return pd.DataFrame(rows)


def _grey(content: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def discovery(name: str, ids: np.ndarray, domain: np.ndarray, class_names: list[str]) -> ProbeResult:
    """Make up the names, components and slices of one student."""
    first = class_names[0]
    key = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in first.lower()).strip("_") or "_"
    while "__" in key:
        key = key.replace("__", "_")
    scores = {
        f"tied/{key}/blue_sky": score(0.6),
        f"adjusted_p/tied/{key}/blue_sky": Score(0.004, 0.004, 0.004),
        f"used/{key}/blue_sky": score(0.42),
        f"adjusted_p/used/{key}/blue_sky": Score(0.0002, 0.0002, 0.0002),
        f"component/{key}/0/auc": score(0.96, 0.02, 0.5),
        f"component/{key}/0/effect": score(0.5, 0.05, 0.0),
        f"excess/component/{key}/0/effect": score(0.4, 0.05, 0.0),
        "slice/2/error/real": score(0.4, 0.08),
        "teacher/slice/2/error/real": score(0.1, 0.05),
        "slice/0/error/real": score(0.2, 0.08),
    }
    synthetic = ids[domain == "synthetic"]
    arrays = {
        "component/class": np.array([first]),
        "component/index": np.array([0]),
        "component/word": np.array(["blue sky"]),
        "component/top_images": np.array([synthetic[:8]]),
        "slice/number": np.array([2, 0]),
        "slice/top_images": np.array([ids[:8], ids[8:16]]),
    }
    params = {"naming": "made up", "slice_names": [{"slice": 2, "images": 90, "class": first, "class_share": 0.7, "word": "night"}]}
    counts = {"images/real": 2000, "images/synthetic": 2000, "classes": 10, "words": 167, "words/known": 40, "names": 1}
    return ProbeResult("discovery", name, "teacher", scores, arrays, counts, params=params)


def depth(name: str, auc: float) -> ProbeResult:
    """Make up a network in which the kinds come apart and stay so, beside a teacher that gives them up; three stages against four."""
    scores: dict[str, Score] = {}
    for prefix, curve in (("", (0.8, auc, auc, auc)), ("teacher/", (0.8, 0.9, 0.95, 0.9, 0.8))):
        for place, value in enumerate(curve, start=1):
            at = "at_end" if place == len(curve) else f"at_{place}"
            scores[f"{prefix}within_class/auc/{at}"] = score(value, 0.02, 0.5)
            for domain in ("real", "synthetic"):
                scores[f"{prefix}refit/to_classes/{at}/{domain}"] = score(0.3 + place / 10, 0.02, 0.1)
    scores["refit_gain/before_projection/real"] = score(0.08, 0.03, 0.0)
    arrays = {"stages": np.array(["a", "b", "c"]), "teacher/stages": np.array(["a", "b", "c", "d"])}
    return ProbeResult("depth", name, "teacher", scores, arrays, {"images/real": 1000, "images/synthetic": 1000, "stages": 3, "folds": 5})


def ladder(name: str, auc: float) -> ProbeResult:
    """Make up a ladder on which the student falls at the last rung."""
    scores = {"metadata/auc": score(0.53, 0.02, 0.5)}
    for who, last in (("embedding", auc - 0.2), ("teacher/embedding", 0.75), ("pixels", 0.6)):
        for rung in RUNGS:
            scores[f"{who}/auc/{rung}"] = score(last if rung == "low_pass" else auc, 0.02, 0.5)
    return ProbeResult("ladder", name, "teacher", scores, {"rungs": np.array(RUNGS)}, {"images/real": 600, "images/synthetic": 600})


def corruptions(name: str, excess: float) -> ProbeResult:
    """Make up what is lost under corruptions beyond the teacher."""
    scores = {
        f"excess/{kind}/{domain}": score(excess, 0.03, 0.0)
        for kind in ("mean", "gaussian_noise", "jpeg_compression")
        for domain in ("real", "synthetic")
    }
    return ProbeResult("corruptions", name, "teacher", scores, {}, {"images/real": 150, "images/synthetic": 150, "kinds": 15})


def used_and_apart(auc: float, erased: float) -> dict[str, Score]:
    """Make up scores of `separability` on whether the difference is used, and on distances."""
    scores: dict[str, Score] = {}
    for prefix, lost, far in (("", erased, auc / 10), ("teacher/", 0.001, 0.03)):
        for domain in ("real", "synthetic"):
            value = lost if domain == "synthetic" else -0.002
            scores[f"{prefix}direction/each_class/accuracy_change/{domain}"] = score(value, 0.01, -0.005)
        scores |= {f"{prefix}distance/frechet": score(far, 0.01, 0.004), f"{prefix}distance/recall": score(0.8, 0.03, 0.97)}
    return scores


def _around(value: float, half: float = 0.02, over: str = "seeds and images") -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=3, over=over)  # type: ignore[arg-type]


def causes(students: list[str]) -> list[Finding]:
    """Make up the finding on the cue of the image-text students."""
    evidence = [
        Evidence(what=f"goes over with an exchanged {edit}", estimate=_around(value), unit="points", source=f"reliance/{edit}")
        for edit, value in (("swapped_chroma", 0.18), ("swapped_border", 0.05), ("hue", 0.31))
    ]
    return [
        Finding(
            id="cause/image_text_contrastive",
            probe="interventions",
            verdict="fail",
            students=students,
            statement="Made up: image-text relies on colour. Given the colour of another class it goes over to it.",
            evidence=evidence,
            recommendation="Made up: vary the colours of the training images.",
        )
    ]


def divisions() -> list[Division]:
    """Make up how the gap of the image-text students is divided."""
    parts = [
        Factor(name="text_target", share=_around(0.7), points=_around(0.325), statement="The text target."),
        Factor(name="negatives", share=_around(0.03), points=_around(0.009), statement="Negatives."),
    ]
    rest = Factor(name="remainder", share=_around(0.27), points=_around(0.1), statement="The rest.")
    return [
        Division(
            start="l2",
            end="image_text_contrastive",
            gap=_around(0.434),
            parts=parts,
            remainder=rest,
            orders=1,
            possible=2,
            statement="Made up: image-text is 43.4 points behind its teacher on real images.",
        )
    ]


def contrasts() -> list[LevelContrast]:
    """Make up contrasts of two factors, one of each kind of reading."""
    rows = [
        ("target", "text", "image", -0.325, 0.12),
        ("temperature", "1.0", "0.07", -0.1, -0.1),
        ("temperature", "0.01", "0.07", 0.05, 0.04),
        ("temperature", "0.1", "0.07", 0.001, 0.0),
    ]
    return [
        LevelContrast(
            factor=factor,
            level=level,
            against=against,
            having=f"image_text {level}",
            other="image_text",
            real=_around(real),
            synthetic=_around(synthetic),
            statement=f"Made up: {level} instead of {against} on real images {100 * real:.1f} points.",
        )
        for factor, level, against, real, synthetic in rows
    ]

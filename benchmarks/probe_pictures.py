"""One worked picture for each page of docs/probes, drawn from the stored results of a run: python benchmarks/probe_pictures.py RUN."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from diagnose.planted import scores as planted_scores
from probes.result import ProbeResult, Score
from probes.stats.intervals import wilson

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "probes" / "pictures"
DRAWS = ROOT / "docs" / "results" / "planted" / "fourth" / "draws.jsonl"
SHOWN = {"image_text-synthetic-s0": "image-text", "image_image-synthetic-s0": "image-image", "l2-synthetic-s0": "L2"}
"""Students in the pictures, those trained on synthetic images, and what they are called."""
FIRST = next(iter(SHOWN))
REAL, SYNTHETIC, TEACHER, GREY = "#0072B2", "#D55E00", "#555555", "#999999"
WIDTH = 8.0
"""Inches: 800 pixels at 100 dots an inch, the width at which GitHub shows a page's pictures."""


def main() -> None:
    """Draw the pictures that RUN has results for, and that of the planted draws that are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a diagnosed run of the pocket, as `synthgap demo` and `synthgap diagnose` leave it")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--draws", type=Path, default=DRAWS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    plt.rcParams |= {"font.size": 9, "svg.hashsalt": "synthgap", "axes.spines.top": False, "axes.spines.right": False}
    for name, (needs, draw) in PICTURES.items():
        missing = [probe for probe in needs if not (options.run / "probes" / probe / f"{FIRST}.json").is_file()]
        if missing:
            parser.error(
                f"`run` must hold the results of {missing[0]}, got none in {options.run}; run `synthgap diagnose RUN --probe {missing[0]}`."
            )
        _save(draw(options.run), options.out / f"{name}.svg")
    _save(planted(options.draws), options.out / "planted.svg")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


def results(run: Path, probe: str) -> dict[str, ProbeResult]:
    """Read a probe's results of the students shown that have one, in their order."""
    stems = {student: run / "probes" / probe / student for student in SHOWN}
    return {student: ProbeResult.load(stem) for student, stem in stems.items() if stem.with_suffix(".json").is_file()}


def _panels(columns: int, height: float, **more: Any) -> tuple[Figure, Sequence[Axes]]:
    figure, axes = plt.subplots(1, columns, figsize=(WIDTH, height), layout="constrained", **more)
    return figure, np.atleast_1d(axes).tolist()


def dot(
    axes: Axes,
    at: tuple[float, float],
    score: Score,
    *,
    colour: str,
    marker: str = "o",
    label: str = "",
    scale: float = 1.0,
    hollow: bool = False,
) -> None:
    """Draw a score with its interval lying down; `at` is (shift, row)."""
    shift, row = at
    reach = [[scale * (score.value - score.low)], [scale * (score.high - score.value)]]
    style = {"mfc": "white", "ms": 6} if hollow else {"ms": 5}
    axes.errorbar(scale * score.value, row + shift, xerr=reach, fmt=marker, color=colour, capsize=2, lw=1.2, label=label or None, **style)


def _rows(axes: Axes, names: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(axis="x", color="#e5e5e5", lw=0.6)
    axes.set_axisbelow(True)


def _chance(axes: Axes, value: float, label: str = "chance") -> None:
    axes.axvline(value, color=GREY, ls=":", lw=1.2, label=label)


def _legend(figure: Figure, axes: Axes, columns: int = 5) -> None:
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(labels, handles, strict=True))
    names = list(dict.fromkeys(labels))
    figure.legend([first[name] for name in names], names, loc="outside upper center", ncols=columns, frameon=False)


def transfer(run: Path) -> Figure:
    """Zero-shot, linear probe and refit on real and synthetic images, student and teacher."""
    transfer = results(run, "transfer")
    figure, panels = _panels(len(transfer), 3.2, sharey=True)
    rows = {"zero_shot": "zero-shot", "refit/to_teacher": "map to the teacher\nfitted anew", "linear_probe": "linear probe"}
    for axes, (student, result) in zip(panels, transfer.items(), strict=True):
        for row, name in enumerate(rows):
            for domain, colour, shift in (("real", REAL, -0.12), ("synthetic", SYNTHETIC, 0.12)):
                theirs = result.scores.get(f"teacher/{name}/{domain}")
                if theirs is not None:
                    dot(axes, (shift, row), theirs, colour=colour, marker="D", hollow=True, label=f"teacher, {domain} images", scale=100)
                dot(axes, (shift, row), result.scores[f"{name}/{domain}"], colour=colour, label=f"student, {domain} images", scale=100)
        _chance(axes, 100 / result.counts["classes"])
        _rows(axes, list(rows.values()), "accuracy, %")
        axes.set_xlim(0, 100)
        axes.set_title(SHOWN[student], fontsize=10)
    _legend(figure, panels[0], columns=3)
    return figure


def separability(run: Path) -> Figure:
    """AUC of real against synthetic: at every depth, and of three classifiers, student beside teacher."""
    result, deep = results(run, "separability")[FIRST], results(run, "depth")[FIRST]
    figure, panels = _panels(2, 3.4)
    rows = {
        "linear/auc": "linear",
        "within_class/linear/auc": "linear,\nwithin a class",
        "knn/auc": "neighbours",
        "matched/linear/auc": "linear, pairs of\nthe same content",
    }
    for row, name in enumerate(rows):
        dot(panels[0], (-0.1, row), result.scores[name], colour=SYNTHETIC, label="student")
        dot(panels[0], (0.1, row), result.scores[f"teacher/{name}"], colour=TEACHER, marker="s", label="teacher")
    _chance(panels[0], 0.5)
    _rows(panels[0], list(rows.values()), "AUC, real against synthetic")
    panels[0].set_xlim(0.45, 1.0)
    places = [*(f"at_{stage}" for stage in range(1, deep.counts["stages"] + 1)), "at_end"]
    for prefix, colour, marker in (("", SYNTHETIC, "o"), ("teacher/", TEACHER, "s")):
        scores = [deep.scores[f"{prefix}auc/{place}"] for place in places]
        middle = np.array([score.value for score in scores])
        reach = [middle - [score.low for score in scores], [score.high for score in scores] - middle]
        panels[1].errorbar(range(len(places)), middle, yerr=reach, fmt=f"{marker}-", color=colour, ms=4, capsize=2, lw=1.2)
    panels[1].axhline(0.5, color=GREY, ls=":", lw=1.2)
    panels[1].set_xticks(range(len(places)), [*(str(stage) for stage in range(1, len(places))), "end"])
    panels[1].set(xlabel="depth: first stage to embedding", ylabel="AUC, real against synthetic", ylim=(0.45, 1.0))
    panels[1].grid(axis="y", color="#e5e5e5", lw=0.6)
    _legend(figure, panels[0])
    return figure


def distances(run: Path) -> Figure:
    """Distances over their floor, and the four shares with theirs, student beside teacher."""
    result = results(run, "separability")[FIRST]
    figure, panels = _panels(2, 3.2)
    for row, name in enumerate(("frechet", "kid", "cmmd", "cmmd_median")):
        for prefix, colour, marker, shift in (("", SYNTHETIC, "o", -0.1), ("teacher/", TEACHER, "s", 0.1)):
            score = result.scores[f"{prefix}distance/{name}"]
            floor = float(np.abs(result.arrays[f"{prefix}distance/{name}/floor"]).mean())  # that of KID has both signs
            over = Score(*(max(part, 1e-12) / floor for part in (score.value, score.low, score.high)))
            dot(panels[0], (shift, row), over, colour=colour, marker=marker, label="student" if not prefix else "teacher")
    _rows(panels[0], ["Fréchet", "KID", "CMMD", "CMMD,\nmedian width"], "distance, in multiples of its floor")
    _chance(panels[0], 1.0, "floor: real against real")
    panels[0].set_xscale("log")
    for row, name in enumerate(("precision", "recall", "density", "coverage")):
        for prefix, colour, marker, shift in (("", SYNTHETIC, "o", -0.1), ("teacher/", TEACHER, "s", 0.1)):
            score = result.scores[f"{prefix}distance/{name}"]
            dot(panels[1], (shift, row), score, colour=colour, marker=marker)
            panels[1].plot([score.chance] * 2, [row + shift - 0.09, row + shift + 0.09], color=GREY, ls="-", lw=2)
    _rows(panels[1], ["precision", "recall", "density", "coverage"], "share (density: mean count / 5); grey: floor")
    panels[1].set_xlim(0, None)
    _legend(figure, panels[0])
    return figure


def drift(run: Path) -> Figure:
    """Agreement with the teacher by domain, and over the epochs where they were kept."""
    by_student = results(run, "drift")
    figure, panels = _panels(2, 3.4)
    rows = [(measure, student) for measure in ("cosine", "cka", "knn_overlap") for student in by_student]
    words = {"cosine": "cosine", "cka": "CKA", "knn_overlap": "neighbours"}
    for row, (measure, student) in enumerate(rows):
        for domain, colour, shift in (("real", REAL, -0.13), ("synthetic", SYNTHETIC, 0.13)):
            score = by_student[student].scores[f"{measure}/{domain}"]
            dot(panels[0], (shift, row), score, colour=colour, label=f"{domain} images")
            if score.chance is not None:
                panels[0].plot(score.chance, row + shift, marker="|", ms=8, mew=1.5, color=GREY, ls="none", label="chance")
    _rows(panels[0], [f"{words[measure]}, {SHOWN[student]}" for measure, student in rows], "agreement with the teacher (1: the same)")
    for student, style in zip(by_student, ("-", "--", ":"), strict=False):
        arrays = by_student[student].arrays
        for domain, colour in (("real", REAL), ("synthetic", SYNTHETIC)):
            curve = arrays.get(f"cosine/{domain}/by_epoch")
            if curve is not None:
                panels[1].plot(arrays["epochs"], curve[:, 0], style, color=colour, lw=1.3)
                panels[1].fill_between(arrays["epochs"], curve[:, 1], curve[:, 2], color=colour, alpha=0.15, lw=0)
        panels[1].plot([], [], style, color="black", lw=1.3, label=SHOWN[student])
    panels[1].axhline(0, color=GREY, ls="-.", lw=1.2, label="about chance")
    panels[1].set(xlabel="epoch", ylabel="cosine to the teacher")
    panels[1].grid(axis="y", color="#e5e5e5", lw=0.6)
    panels[1].legend(frameon=False, fontsize=8)
    _legend(figure, panels[0])
    return figure


def interventions(run: Path) -> Figure:
    """How far an exchanged cue is followed beyond teacher and real images, and the share of the gap that closes when it is matched."""
    result = results(run, "interventions")[FIRST].scores
    cues = (
        "palette",
        "tones",
        "chroma",
        "channel_statistics",
        "border",
        "window_middle",
        "detail",
        "layout",
        "peaks",
        "sharpness",
        "noise",
        "compression",
    )
    figure, panels = _panels(2, 4.0, sharey=True)
    for row, cue in enumerate(cues):
        reliance, p = result[f"reliance/swapped_{cue}"], result[f"adjusted_p/swapped_{cue}"]
        stands = p.value <= 0.05 and reliance.low > 0
        dot(
            panels[0],
            (0, row),
            reliance,
            colour=SYNTHETIC if stands else GREY,
            scale=100,
            label="surely above 0 (left: after Holm)" if stands else "not surely",
        )
        closed = result.get(f"gap_closed/matched_{cue}")
        if closed is not None:
            dot(panels[1], (0, row), closed, colour=SYNTHETIC if closed.low > 0 else GREY, scale=100)
    _chance(panels[0], 0, "nothing")
    panels[1].axvline(0, color=GREY, ls=":", lw=1.2)
    _rows(panels[0], [cue.replace("_", " ") for cue in cues], "reliance: goes over to the other class, points")
    _rows(panels[1], [cue.replace("_", " ") for cue in cues], "share of the gap that closes when matched, %")
    _legend(figure, panels[0])
    return figure


def discovery(run: Path) -> Figure:
    """The names with their effect, and how much more the student than the teacher answers by them, for two students."""
    by_student = results(run, "discovery")
    names = by_student[FIRST].params["names"]
    figure, panels = _panels(2, 4.6, sharey=True)
    rows = [f"{one['class']}: {one['word']}" if one["class"] else one["word"] for one in names]
    for row, one in enumerate(names):
        score = by_student[FIRST].scores[f"{'tied/' + one['class'] if one['how'] == 'tied' else 'word'}/{one['word']}"]
        dot(panels[0], (0, row), score, colour=TEACHER)
        for student, colour, marker, shift in ((FIRST, SYNTHETIC, "o", -0.12), ("l2-synthetic-s0", REAL, "s", 0.12)):
            used = by_student[student].scores.get(f"used/{one['class']}/{one['word']}")
            if used is not None:
                dot(panels[1], (shift, row), used, colour=colour, marker=marker, scale=100, label=f"{SHOWN[student]} student")
    for axes in panels:
        _chance(axes, 0, "nothing")
    _rows(panels[0], rows, "effect in the data (1: a class's own name)")
    _rows(panels[1], rows, "called by that class more than by the teacher, points")
    _legend(figure, panels[1])
    return figure


def corruptions(run: Path) -> Figure:
    """What each kind costs the student beyond its teacher, by domain."""
    by_student = results(run, "corruptions")
    figure, panels = _panels(len(by_student), 4.6, sharey=True, sharex=True)
    kinds = [*next(iter(by_student.values())).params["kinds"], "mean"]
    for axes, (student, result) in zip(panels, by_student.items(), strict=True):
        for row, kind in enumerate(kinds):
            for domain, colour, shift in (("real", REAL, -0.15), ("synthetic", SYNTHETIC, 0.15)):
                dot(axes, (shift, row), result.scores[f"excess/{kind}/{domain}"], colour=colour, scale=100, label=f"{domain} images")
        _chance(axes, 0, "as much as the teacher")
        _rows(axes, [kind.replace("_", " ") for kind in kinds], "excess loss, points")
        clean = [100 * result.scores[f"clean/{domain}"].value for domain in ("real", "synthetic")]
        axes.set_title(f"{SHOWN[student]}\nclean: {clean[0]:.0f} % real, {clean[1]:.0f} % synthetic", fontsize=9)
    _legend(figure, panels[0])
    return figure


def planted(draws: Path) -> Figure:
    """What each planted cue costs and how far the toolkit saw it followed; and the shares of draws, by strength, with the nulls."""
    records = [json.loads(line) for line in draws.read_text(encoding="utf-8").splitlines()]
    cues, nulls, cost = planted_scores.positives(records), planted_scores.nulls(records), planted_scores.costs(records)
    figure, panels = _panels(2, 3.6)
    colours = {"right": "#009E73", "wrong": SYNTHETIC, "open": "#E69F00", "silent": GREY}
    words = {"right": "right family", "wrong": "wrong family", "open": "fires, names none", "silent": "silent"}
    for kind, colour in colours.items():
        mine = [record for record in cues if planted_scores.carried(record) and planted_scores.naming(record) == kind]
        at = [100 * cost[record["name"]] for record in mine], [100 * record["said"]["score"] for record in mine]
        panels[0].scatter(*at, color=colour, s=22, label=words[kind])
    spread = np.linspace(-9, -4, len(nulls))
    panels[0].scatter(
        spread, [100 * record["said"]["score"] for record in nulls], color="black", marker="x", s=16, lw=0.9, label="no cue that tells"
    )
    panels[0].axhline(0, color=GREY, ls=":", lw=1.2)
    panels[0].axvline(100 * planted_scores.COSTS, color=GREY, ls="--", lw=0.8)
    panels[0].annotate("goals count from here", (100 * planted_scores.COSTS + 0.7, 88), fontsize=8, color=TEACHER)
    panels[0].set(xlabel="cost of the cue on real images, points (nulls: left)", ylabel="surely followed by at least, points")
    panels[0].grid(color="#e5e5e5", lw=0.6)
    panels[0].set_axisbelow(True)
    shares = [("nulls fire", nulls, [planted_scores.fires(record) for record in nulls], "black")]
    for strength in sorted({record["draw"]["strength"] for record in cues}):
        mine = [record for record in cues if planted_scores.carried(record) and record["draw"]["strength"] == strength]
        shares.append((f"fires, tied {100 * strength:.0f} %", mine, [planted_scores.fires(record) for record in mine], "#0072B2"))
    fired = [record for record in planted_scores.costly(records, cost) if planted_scores.fires(record)]
    shares.append(
        ("right family\nof those that\nfire and cost 5", fired, [planted_scores.naming(record) == "right" for record in fired], "#009E73")
    )
    for row, (_, _, hits, colour) in enumerate(shares):
        low, high = wilson(sum(hits), len(hits))
        dot(panels[1], (0, row), Score(sum(hits) / len(hits), low, high), colour=colour, scale=100)
        panels[1].annotate(f"{sum(hits)} of {len(hits)}", (103, row), va="center", fontsize=8, annotation_clip=False)
    panels[1].axvline(90, color=GREY, ls="--", lw=0.8)
    panels[1].axvline(5, color=GREY, ls="--", lw=0.8)
    _rows(panels[1], [name for name, *_ in shares], "share of draws, % (dashed: goals, 5 and 90)")
    panels[1].set_xlim(-2, 102)
    _legend(figure, panels[0])
    return figure


PICTURES = {
    "transfer": (("transfer",), transfer),
    "separability": (("separability", "depth"), separability),
    "distances": (("separability",), distances),
    "drift": (("drift",), drift),
    "interventions": (("interventions",), interventions),
    "discovery": (("discovery",), discovery),
    "corruptions": (("corruptions",), corruptions),
}
"""Name of a picture -> the probes it needs, and who draws it."""

if __name__ == "__main__":
    main()

"""The page `report.html`: one file without scripts or anything fetched, readable on a telephone, on paper and in the dark."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from diagnose.report import figures
from diagnose.schema import Estimate, Finding, Report
from diagnose.stored_images.samples import Row
from diagnose.wording.numbers import in_percent
from diagnose.wording.words import first_sentence, plain, teacher_name, upper_first
from probes.result import ProbeResult

SHOWN = 48
"""Images on the page, both domains together; the rest is in `thumbnails.parquet`."""

BADGES = {
    "outcome": {"pass": "holds", "fail": "fails"},
    "controls": {"pass": "controlled", "fail": "at fault", "inconclusive": "untested"},
    "loss": {"pass": "none", "fail": "found"},
    "factors": {"pass": "hardly", "warn": "matters"},
    "cause": {"pass": "none of these", "warn": "used", "fail": "named", "inconclusive": "not settled"},
    "separability": {"pass": "no more", "warn": "note"},
    "drift": {"pass": "follows", "warn": "leaves"},
    "missing": {"inconclusive": "missing"},
}
"""Words for a finding's verdict, by section; `unclear` where none is given."""

CHAIN = (
    ("outcome", "1", "Does it fail on real images?"),
    ("controls", "2", "Is it something else?"),
    ("loss", "3", "Which property of the loss is it?"),
    ("factors", "+", "What else in the recipe matters?"),
    ("cause", "4", "Which cue does it rely on?"),
    ("separability", "5", "Does it keep the domains further apart than its teacher?"),
    ("drift", "6", "Where does it leave its teacher?"),
    ("missing", "!", "What could not be measured"),
)
"""Sections of the page: prefix of the findings' ids, sign, heading."""


def page(report: Report, rows: Sequence[Row] = (), results: Mapping[str, Mapping[str, ProbeResult]] | None = None) -> str:
    """Render the whole page as HTML; every text that comes from outside is escaped.

    Args:
        report: the report.
        rows: sample of images, the telling ones first.
        results: probe -> student -> result, for the charts over epochs.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        plain=plain,
        upper_first=upper_first,
        share=_share,
        thousands=_thousands,
        kept=_kept,
        when=_when,
        first_sentence=first_sentence,
        teacher_name=teacher_name,
    )
    return environment.get_template("report.html.jinja").render(
        report=report,
        sections=sections(report, results),
        badges=BADGES,
        alternatives=[item for finding in report.findings for item in finding.alternatives],
        samples=_shown(rows),
        failed=[record for record in report.probes if record.status == "failed"],
    )


def sections(report: Report, results: Mapping[str, Mapping[str, ProbeResult]] | None = None) -> list[dict[str, Any]]:
    """Sort the report's findings and figures into the sections of the page.

    Args:
        report: the report.
        results: probe -> student -> result, for the charts over epochs.

    Returns:
        For each section with a finding: `id`, `sign`, `heading`, `findings`, `figures`.
    """
    by_probe = results or {}
    drawn: dict[str, list[figures.DotPlot | figures.LineChart | None]] = {
        "outcome": [figures.outcome(report), figures.excess(report), figures.curves(report)],
        "controls": [figures.grid(report)],
        "loss": [figures.factors(report)],
        "factors": [figures.levels(report)],
        "separability": [figures.separability(report)],
        "drift": [figures.drift(report), figures.drift_by_epoch(report, by_probe)],
    }
    return [
        {"id": prefix, "sign": sign, "heading": heading, "findings": judged, "figures": [f for f in drawn.get(prefix, []) if f is not None]}
        for prefix, sign, heading in CHAIN
        if (judged := _findings(report, prefix))
    ]


def _findings(report: Report, prefix: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.id == prefix or finding.id.startswith(f"{prefix}/")]


def _shown(rows: Sequence[Row]) -> list[tuple[str, list[dict[str, object]]]]:
    samples = []
    for domain in ("real", "synthetic"):
        of_domain = [row for row in rows if row.domain == domain][: SHOWN // 2]
        if of_domain:
            samples.append((domain, [{"row": row, "source": _source(row), "verdicts": _verdicts(row)} for row in of_domain]))
    return samples


def _source(row: Row) -> str:
    return "data:image/png;base64," + base64.b64encode(row.image).decode("ascii")


def _verdicts(row: Row) -> list[tuple[str, list[str]]]:
    """Return the predicted classes, the most frequent first, with the encoders that predict them."""
    guesses: dict[str, list[str]] = {}
    for encoder, guess in row.predictions.items():
        guesses.setdefault(guess, []).append(encoder)
    return sorted(guesses.items(), key=lambda item: -len(item[1]))


def _share(value: Estimate | None) -> tuple[str, str]:
    """Return an accuracy in per cent and its interval, as two texts."""
    return ("–", "") if value is None else (in_percent(value.value), f"{in_percent(value.low)} to {in_percent(value.high)}")


def _kept(text: str) -> str:
    """Keep a number and its unit on one line."""
    return re.sub(r"(?<=\d) (?=%|points\b)", "\N{NO-BREAK SPACE}", text)


def _when(created: str) -> str:
    return created[:16].replace("T", " ") + " UTC"


def _thousands(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 100_000 else f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")

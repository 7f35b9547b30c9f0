"""Findings on the factors of the recipe other than target and negatives: temperature, texts, real images, soft targets, ..."""

from __future__ import annotations

from diagnose.judge.contrasts import FACTORS
from diagnose.judge.facts import Facts, LevelContrast
from diagnose.judge.verdict import MARGIN, compare
from diagnose.schema import Division, Evidence, Factor, Finding, FindingVerdict
from diagnose.schema import LevelContrast as LevelContrastRow
from diagnose.wording.factor_words import FACTORS as HEADINGS
from diagnose.wording.factor_words import contrast_sentence, division_sentence, part_sentence, versus
from diagnose.wording.words import negative, plain, upper_first

DECIDED_ELSEWHERE = ("target", "negatives")
"""Factors that the finding `loss` is about."""


def factor_findings(facts: Facts) -> list[Finding]:
    """Write one finding for each factor in which students differ, except target and negatives; none decides the verdict."""
    written = []
    for factor in FACTORS:
        items = [item for item in facts.levels if item.factor == factor]
        if items and factor not in DECIDED_ELSEWHERE:
            written.append(_finding(factor, items))
    return written


def _finding(factor: str, items: list[LevelContrast]) -> Finding:
    large = [item for item in items if "above" in (compare(item.real, MARGIN), compare(negative(item.real), MARGIN))]
    small = [item for item in items if compare(item.real, MARGIN) == "below" and compare(negative(item.real), MARGIN) == "below"]
    state: FindingVerdict = "warn" if large else "pass" if len(small) == len(items) else "inconclusive"
    summary = {
        "warn": f"changes accuracy on real images by more than {100 * MARGIN:.0f} points in {len(large)} of {len(items)} comparisons",
        "pass": f"changes accuracy on real images by less than {100 * MARGIN:.0f} points in every comparison",
        "inconclusive": f"is not shown to change accuracy on real images by more than {100 * MARGIN:.0f} points, nor to change it by less",
    }[state]
    text = " ".join(contrast_sentence(item) for item in items)
    return Finding(
        id=f"factors/{factor}",
        probe="transfer",
        verdict=state,
        statement=f"{upper_first(HEADINGS[factor])} {summary}. {text}",
        evidence=[
            Evidence(
                what=f"{versus(factor, item.level, item.against)}, {plain(item.having)}",
                estimate=item.real,
                unit="points",
                source="paired over seeds and images",
            )
            for item in items
        ],
    )


def divisions(facts: Facts) -> list[Division]:
    """Convert the divisions of the gap to rows of the report, with their sentences."""
    return [
        Division(
            start=item.start,
            end=item.end,
            gap=item.gap,
            parts=[Factor(name=part.name, share=part.share, points=part.points, statement=part_sentence(part)) for part in item.parts],
            remainder=Factor(
                name="remainder", share=item.remainder.share, points=item.remainder.points, statement=part_sentence(item.remainder)
            ),
            orders=item.orders,
            possible=item.possible,
            statement=division_sentence(item),
        )
        for item in facts.divisions
    ]


def contrasts(facts: Facts) -> list[LevelContrastRow]:
    """Convert the contrasts of single factors to rows of the report, with their sentences."""
    return [
        LevelContrastRow(
            factor=item.factor,
            level=item.level,
            against=item.against,
            having=item.having,
            other=item.other,
            real=item.real,
            synthetic=item.synthetic,
            statement=contrast_sentence(item),
        )
        for item in facts.levels
    ]

"""What differs between two reports: setting, outcomes loss by loss with intervals, findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from app import charts
from app.panels.groups import StudentGroup, zero_shot
from app.panels.report_view import ReportView
from app.panels.wording import VERDICT_WORDS, escape, loss_name
from diagnose.judge.comparison import Ends, Side, difference, side_of
from diagnose.schema import Finding
from diagnose.wording.numbers import format_number

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % points of Student's t for 1 to 10 degrees of freedom; beyond, 2.2 is a little wide."""

Interval = Ends
"""Value, low and high end."""

CHANGE_WORDS: dict[Side, str] = {"above": "more", "below": "fewer", "unclear": "not surely another number"}


@dataclass(frozen=True)
class Outcome:
    """Accuracy of one group of students in two runs on one domain.

    Args:
        title: loss and training images.
        key: what its colour stands for.
        domain: tested on.
        first: in the first run.
        second: in the second run.
        seeds: seeds in either.
        n: images in either.
    """

    title: str
    key: str
    domain: str
    first: Interval
    second: Interval
    seeds: tuple[int, int]
    n: tuple[int, int]

    @property
    def change(self) -> Interval:
        """Second minus first, as if the two runs shared nothing."""
        return difference(self.second, self.first)

    @property
    def direction(self) -> Side:
        """Return `above` where the second run is surely more accurate, `below` where it is surely less so."""
        return side_of(*self.change[1:])


def accuracy(group: StudentGroup, domain: str) -> tuple[Interval, int] | None:
    """Compute a group's mean accuracy with an interval over seeds and images, and the images behind it; None where it is not measured.

    As in docs/verdict.md: Student's t over seeds and the interval over images, squared half-widths added. With one seed: its own.
    """
    accuracies = [given for student in group.students if (given := zero_shot(student, domain)) is not None]
    if not accuracies:
        return None
    mean = fmean(given.value for given in accuracies)
    low, high = (fmean(end) for end in ([g.value - g.low for g in accuracies], [g.high - g.value for g in accuracies]))
    if len(accuracies) == 1:
        return (mean, mean - low, mean + high), accuracies[0].n
    seeds = (
        (T_975[len(accuracies) - 2] if len(accuracies) - 2 < len(T_975) else 2.2)
        * stdev(given.value for given in accuracies)
        / len(accuracies) ** 0.5
    )
    return (mean, mean - (seeds**2 + low**2) ** 0.5, mean + (seeds**2 + high**2) ** 0.5), accuracies[0].n


def outcomes(first: ReportView, second: ReportView) -> list[Outcome]:
    """Pair the groups of students that both reports hold, by loss and training images, on each domain."""
    others = {group.title: group for group in second.groups}  # by title: configs call one loss by several names
    pairs = []
    for group in first.groups:
        other = others.get(group.title)
        for domain in ("real", "synthetic") if other is not None else ():
            one, two = accuracy(group, domain), accuracy(other, domain)  # type: ignore[arg-type]
            if one is not None and two is not None:
                seeds = (len(group.students), len(other.students))  # type: ignore[union-attr]
                pairs.append(Outcome(group.title, group.key, domain, one[0], two[0], seeds, (one[1], two[1])))
    return pairs


def alone(first: ReportView, second: ReportView) -> list[str]:
    """List the groups of students that only the first report holds."""
    known = {group.title for group in second.groups}
    return [group.title for group in first.groups if group.title not in known]


def outcome_words(given: Outcome) -> str:
    """Write one difference with its interval, seeds and n."""
    value, low, high = (100 * end for end in given.change)
    before, after = 100 * given.first[0], 100 * given.second[0]
    sure = CHANGE_WORDS[given.direction]
    numbers = (
        f"{format_number(value, 1, signed=True)} points ({format_number(low, 1, signed=True)} to {format_number(high, 1, signed=True)})"
    )
    n = f"{given.seeds[0]} and {given.seeds[1]} seeds, n = {given.n[0]:,} and {given.n[1]:,} images"
    return f"- **{escape(given.title)}**, {given.domain} images: {format_number(before, 1)} % before, {format_number(after, 1)} % now: {numbers}, {sure}; {n}"


def outcome_dots(found: Sequence[Outcome], colours: dict[str, str]) -> list[charts.Dot]:
    """Make a row for each group: the change on real and on synthetic images."""
    return [
        charts.Dot(given.title, *given.change, colours[given.key], given.domain, f"{given.title}, {given.domain} images") for given in found
    ]


def settings(first: ReportView, second: ReportView) -> list[tuple[str, str, str]]:
    """List what differs in the setting: name of the thing, in the first, in the second run."""

    def facts(view: ReportView) -> dict[str, str]:
        report = view.report
        classes = ", ".join(report.class_names[:6]) + (" …" if len(report.class_names) > 6 else "")
        facts = {
            "Teacher": f"{report.teacher.name}, {report.teacher.params:,} parameters",
            "Classes": f"{len(report.class_names)}: {classes}",
        }
        facts["Losses"] = ", ".join(dict.fromkeys(group.title for group in view.groups))
        sizes = sorted({student.params for student in report.students})
        facts["Parameters of the students"] = ", ".join(f"{size:,}" for size in sizes)
        facts["Seeds"] = ", ".join(str(seed) for seed in sorted({student.seed for student in report.students} - {None}, key=str))
        facts |= {f"Count of {name.replace('/', ', ')}": f"{count:,}" for name, count in report.counts.items()}
        facts["Data"] = report.about
        return facts | {f"Version: {name}": version for name, version in report.environment.items() if name != "seed"}

    one, two = facts(first), facts(second)
    return [(name, one.get(name, "–"), two.get(name, "–")) for name in dict.fromkeys([*one, *two]) if one.get(name) != two.get(name)]


@dataclass(frozen=True)
class Changed:
    """One finding in two reports; None where a report has none of this title."""

    title: str
    first: Finding | None
    second: Finding | None


def finding_title(name: str) -> str:
    """Name a finding by its id, its loss as people call it, so that it is the same in two configs."""
    return ", ".join(loss_name(part) for part in name.split("/"))


def changed_findings(first: ReportView, second: ReportView) -> tuple[list[Changed], list[Changed]]:
    """Pair findings by their titles.

    Returns:
        Those whose judgement differs or that only one report has; and those that stayed.
    """
    one, two = ({finding_title(finding.id): finding for finding in view.report.findings} for view in (first, second))
    pairs = [Changed(name, one.get(name), two.get(name)) for name in dict.fromkeys([*one, *two])]
    moved = [pair for pair in pairs if pair.first is None or pair.second is None or pair.first.verdict != pair.second.verdict]
    return moved, [pair for pair in pairs if pair not in moved]


def badge(finding: Finding | None) -> str:
    """Write a finding's judgement as a badge."""
    if finding is None:
        return ":gray-badge[not in this run]"
    words, icon, colour = VERDICT_WORDS[finding.verdict]
    return f":{colour}-badge[{icon} {words}]"

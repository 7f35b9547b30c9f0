"""The interventions as a matrix: one row an edit, one column a group of students, each number over seeds with its test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app import charts
from app.panels.edits import KINDS, edit_name, edit_words, family_word, kind_of
from app.panels.groups import SeedValues, StudentGroup, as_score, collect_seeds
from app.panels.measures import images_behind, score_reader
from app.panels.wording import escape
from diagnose.judge import verdict
from diagnose.judge.comparison import side_of
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import format_number, in_percent
from diagnose.wording.words import joined

Records = Mapping[str, ProbeRecord]


def edits_of(records: Records, kind: str) -> list[str]:
    """List the edits of a kind of which the report holds the kind's score: a family together, the family with the largest number first.

    Args:
        records: subject -> its record of the probe.
        kind: key of `KINDS`.
    """
    score = KINDS[kind].score
    most: dict[str, float] = {}
    for record in records.values():
        for name, raw in record.scores.items():
            edit = name.removeprefix(f"{score}/")
            effect = as_score(raw) if name.startswith(f"{score}/") and kind_of(edit) == kind else None
            if effect is not None:
                most[edit] = max(most.get(edit, effect.value), effect.value)
    families: dict[str, float] = {}
    for edit, value in most.items():
        families[family_word(edit)] = max(families.get(family_word(edit), value), value)
    return sorted(most, key=lambda edit: (-families[family_word(edit)], family_word(edit), -most[edit]))


def measured_groups(records: Records, groups: Sequence[StudentGroup]) -> list[StudentGroup]:
    """Keep the groups of which one student was asked.

    Args:
        records: subject -> its record of the probe.
        groups: groups of students, in the order of the page.
    """
    return [group for group in groups if any(name in records and records[name].status == "done" for name in group.names)]


def over(records: Records, group: StudentGroup, score: str) -> SeedValues | None:
    """Collect one score of a group's seeds.

    Args:
        records: subject -> its record of the probe.
        group: students that differ in their seed alone.
        score: name of the score.
    """
    return collect_seeds(group, score_reader(dict(records), score), images_behind(dict(records), group, score, "synthetic"))


def alarms(records: Records, group: StudentGroup, edit: str) -> tuple[int, int]:
    """Count the seeds whose use of a cue stands after the correction for all edits (adjusted p at most 0.05), and those tested.

    Args:
        records: subject -> its record of the probe.
        group: students that differ in their seed alone.
        edit: key in `probes.edits.EDITS`.
    """
    reads = (as_score(records[name].scores.get(f"adjusted_p/{edit}")) for name in group.names if name in records)
    p_values = [score.value for score in reads if score is not None]
    return sum(verdict.stands(p) for p in p_values), len(p_values)


def row_label(edit: str) -> str:
    """Name an edit in the matrix, with the kind of cue it is about."""
    return f"{edit_name(edit)} ({family_word(edit)})"


def cells(records: Records, groups: Sequence[StudentGroup], kind: str) -> list[charts.Cell]:
    """Make the cells of one kind of edits; framed where the use stands in most seeds, or where the share is surely above nothing.

    Args:
        records: subject -> its record of the probe.
        groups: groups of students, in the order of the page.
        kind: key of `KINDS`.
    """
    collected = []
    for group in groups:
        for edit in edits_of(records, kind):
            values = over(records, group, f"{KINDS[kind].score}/{edit}")
            if values is None:
                continue
            number = in_percent(values.mean, 0, signed=True) if abs(values.mean) < 9.995 else "≫"
            if kind == "matched":
                count = sum(side_of(low, high) == "above" for _, low, high in values.seeds)
                strong = count * 2 > len(values.seeds)
                test = f"{count} of {len(values.seeds)} seeds surely above nothing"
            else:
                count, tested = alarms(records, group, edit)
                strong, test = count * 2 > tested > 0, f"adjusted p at most {verdict.ALARM:g} in {count} of {tested} seeds"
            hover = f"{group.title}, {edit_name(edit)}: {in_unit(values, kind)}; {test}"
            collected.append(charts.Cell(row_label(edit), group.title, values.mean, number, strong, hover))
    return collected


def in_unit(values: SeedValues, kind: str) -> str:
    """Write what seeds measured with interval and n: points of reliance, or a share of the gap.

    Args:
        values: what the seeds measured.
        kind: key of `KINDS`.
    """
    words = values.words(percent=True)
    return words if kind == "matched" else words.replace(" %", " points", 1)


def matrix_sentence(records: Records, groups: Sequence[StudentGroup], kind: str) -> str:
    """Say which cells stand out, the largest first, or that none does.

    Args:
        records: subject -> its record of the probe.
        groups: groups of students, in the order of the page.
        kind: key of `KINDS`.
    """
    all_cells = cells(records, groups, kind)
    lines = []
    for group in groups:
        strong = sorted((cell for cell in all_cells if cell.column == group.title and cell.strong), key=lambda cell: -cell.value)
        if strong:
            edits = {row_label(edit): edit for edit in edits_of(records, kind)}
            parts = []
            for cell in strong[:3]:
                values = over(records, group, f"{KINDS[kind].score}/{edits[cell.row]}")
                parts.append(f"{escape(edit_name(edits[cell.row]))} {in_unit(values, kind)}" if values else "")
            more = f", and {len(strong) - 3} more" if len(strong) > 3 else ""
            lines.append(f"- **{escape(group.title)}** stands out with {joined(parts)}{more}")
        else:
            lines.append(
                f"- **{escape(group.title)}**: nothing stands out in {sum(cell.column == group.title for cell in all_cells)} tests"
            )
    return "\n".join(lines)


def spread_words(records: Records, student: str, edit: str) -> str:
    """Say what one student's test of one edit gave: reliance with interval and adjusted p, or the share of the gap that closes.

    Args:
        records: subject -> its record of the probe.
        student: the student's name.
        edit: key in `probes.edits.EDITS`.
    """
    scores = records[student].scores if student in records else {}
    parts = []
    reliance, p = as_score(scores.get(f"reliance/{edit}")), as_score(scores.get(f"adjusted_p/{edit}"))
    if reliance is not None:
        p_words = "" if p is None else f", adjusted p {'below 0.001' if p.value < 0.001 else format_number(p.value, 3)}"
        value, low, high = (in_percent(end) for end in (reliance.value, reliance.low, reliance.high))
        parts.append(f"It uses the cue by **{value} points** ({low} to {high}{p_words}) more than its teacher and than on real images.")
    closed = as_score(scores.get(f"gap_closed/{edit}"))
    if closed is not None:
        value, low, high = (in_percent(end, 0) for end in (closed.value, closed.low, closed.high))
        what = "Given this" if edit.startswith("matched_") else "Without this"
        parts.append(f"{what}, **{value} %** ({low} to {high}) of the gap between synthetic and real images closes.")
    return " ".join(parts) or "This edit was not tested for this student."


def accuracy_dots(records: Records, student: str, edit: str, colour: str) -> list[charts.Dot]:
    """Make the marks before and after an edit, student and teacher, each on real and synthetic images.

    Args:
        records: subject -> its record of the probe.
        student: the student's name.
        edit: key in `probes.edits.EDITS`.
        colour: what the marks are filled with.
    """
    scores = records[student].scores if student in records else {}
    dots = []
    for prefix, who, shade in (("", "student", colour), ("teacher/", "teacher", charts.TEACHER)):
        for name, when in (("none", "unchanged"), (edit, "edited")):
            for domain in ("real", "synthetic"):
                accuracy = as_score(scores.get(f"{prefix}accuracy/{name}/{domain}"))
                if accuracy is not None:
                    dots.append(charts.Dot(f"{who}, {when}", accuracy.value, accuracy.low, accuracy.high, shade, domain))
    return dots


def edit_sentence(edit: str) -> str:
    """Say what an edit does and what its answer means."""
    kind = KINDS[kind_of(edit)]
    return f"**{escape(edit_name(edit))}**: {escape(edit_words(edit))}. {kind.means}"

"""The interventions as a matrix: one row an edit, one column a group of students, each number over seeds with its test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app import charts
from app.panels.edits import KINDS, edit_name, edit_words, family_word, kind_of
from app.panels.groups import SeedValues, StudentGroup, as_score, collect_seeds
from app.panels.measures import images_behind, score_reader
from app.panels.wording import escape
from diagnose.judge.verdict import ALARM
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import format_number, in_percent
from diagnose.wording.words import joined

Records = Mapping[str, ProbeRecord]


def edits_of(held: Records, kind: str) -> list[str]:
    """List the edits of a kind of which the report holds the kind's score: a family together, the family with the largest number first."""
    score = KINDS[kind].score
    most: dict[str, float] = {}
    for record in held.values():
        for name, raw in record.scores.items():
            edit = name.removeprefix(f"{score}/")
            given = as_score(raw) if name.startswith(f"{score}/") and kind_of(edit) == kind else None
            if given is not None:
                most[edit] = max(most.get(edit, given.value), given.value)
    families: dict[str, float] = {}
    for edit, value in most.items():
        families[family_word(edit)] = max(families.get(family_word(edit), value), value)
    return sorted(most, key=lambda edit: (-families[family_word(edit)], family_word(edit), -most[edit]))


def measured_groups(held: Records, groups: Sequence[StudentGroup]) -> list[StudentGroup]:
    """Keep the groups of which one student was asked."""
    return [group for group in groups if any(name in held and held[name].status == "done" for name in group.names)]


def over(held: Records, group: StudentGroup, score: str) -> SeedValues | None:
    """Collect one score of a group's seeds."""
    return collect_seeds(group, score_reader(dict(held), score), images_behind(dict(held), group, score, "synthetic"))


def alarms(held: Records, group: StudentGroup, edit: str) -> tuple[int, int]:
    """Count the seeds whose use of a cue stands after the correction for all edits (adjusted p at most 0.05), and those tested."""
    reads = (as_score(held[name].scores.get(f"adjusted_p/{edit}")) for name in group.names if name in held)
    found = [score.value for score in reads if score is not None]
    return sum(p <= ALARM for p in found), len(found)


def row_label(edit: str) -> str:
    """Name an edit in the matrix, with the kind of cue it is about."""
    return f"{edit_name(edit)} ({family_word(edit)})"


def cells(held: Records, groups: Sequence[StudentGroup], kind: str) -> list[charts.Cell]:
    """Make the cells of one kind of edits; framed where the use stands in most seeds, or where the share is surely above nothing."""
    made = []
    for group in groups:
        for edit in edits_of(held, kind):
            found = over(held, group, f"{KINDS[kind].score}/{edit}")
            if found is None:
                continue
            number = in_percent(found.mean, 0, signed=True) if abs(found.mean) < 9.995 else "≫"
            if kind == "matched":
                strong = sum(low > 0 for _, low, _ in found.seeds) * 2 > len(found.seeds)
                test = f"{sum(low > 0 for _, low, _ in found.seeds)} of {len(found.seeds)} seeds surely above nothing"
            else:
                count, tested = alarms(held, group, edit)
                strong, test = count * 2 > tested > 0, f"adjusted p at most {ALARM:g} in {count} of {tested} seeds"
            hover = f"{group.title}, {edit_name(edit)}: {in_unit(found, kind)}; {test}"
            made.append(charts.Cell(row_label(edit), group.title, found.mean, number, strong, hover))
    return made


def in_unit(found: SeedValues, kind: str) -> str:
    """Write what seeds measured with interval and n: points of reliance, or a share of the gap."""
    words = found.words(percent=True)
    return words if kind == "matched" else words.replace(" %", " points", 1)


def matrix_sentence(held: Records, groups: Sequence[StudentGroup], kind: str) -> str:
    """Say which cells stand out, the largest first, or that none does."""
    made = cells(held, groups, kind)
    lines = []
    for group in groups:
        strong = sorted((cell for cell in made if cell.column == group.title and cell.strong), key=lambda cell: -cell.value)
        if strong:
            edits = {row_label(edit): edit for edit in edits_of(held, kind)}
            parts = []
            for cell in strong[:3]:
                found = over(held, group, f"{KINDS[kind].score}/{edits[cell.row]}")
                parts.append(f"{escape(edit_name(edits[cell.row]))} {in_unit(found, kind)}" if found else "")
            more = f", and {len(strong) - 3} more" if len(strong) > 3 else ""
            lines.append(f"- **{escape(group.title)}** stands out with {joined(parts)}{more}")
        else:
            lines.append(f"- **{escape(group.title)}**: nothing stands out in {sum(cell.column == group.title for cell in made)} tests")
    return "\n".join(lines)


def spread_words(held: Records, student: str, edit: str) -> str:
    """Say what one student's test of one edit gave: reliance with interval and adjusted p, or the share of the gap that closes."""
    scores = held[student].scores if student in held else {}
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


def accuracy_dots(held: Records, student: str, edit: str, colour: str) -> list[charts.Dot]:
    """Make the marks before and after an edit, student and teacher, each on real and synthetic images."""
    scores = held[student].scores if student in held else {}
    dots = []
    for prefix, who, shade in (("", "student", colour), ("teacher/", "teacher", charts.TEACHER)):
        for name, when in (("none", "unchanged"), (edit, "edited")):
            for domain in ("real", "synthetic"):
                found = as_score(scores.get(f"{prefix}accuracy/{name}/{domain}"))
                if found is not None:
                    dots.append(charts.Dot(f"{who}, {when}", found.value, found.low, found.high, shade, domain))
    return dots


def edit_sentence(edit: str) -> str:
    """Say what an edit does and what its answer means."""
    kind = KINDS[kind_of(edit)]
    return f"**{escape(edit_name(edit))}**: {escape(edit_words(edit))}. {kind.means}"

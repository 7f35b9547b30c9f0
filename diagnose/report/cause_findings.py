"""Findings about the cue that students rely on, in plain words, with the edits that prove it and the families that are ruled out."""

from __future__ import annotations

from collections.abc import Sequence

from diagnose.judge import verdict
from diagnose.judge.causes import Cause, CueEvidence, EditScore, find_cause
from diagnose.judge.facts import Facts, Measured
from diagnose.schema import Alternative, Estimate, Evidence, Finding, FindingVerdict
from diagnose.wording.numbers import in_percent, with_interval
from diagnose.wording.words import chance_words, listed, negative, plain, points, upper_first
from probes.edits import EDITS, FAMILIES

MOST_WORDS = 3


def cause_findings(facts: Facts) -> list[Finding]:
    """Write one finding for each judged loss whose interventions ran.

    Args:
        facts: the numbers.
    """
    findings = []
    for measured in verdict.judged(facts):
        cause = find_cause(measured)
        if cause.status != "untested":
            findings.append(_finding(measured, cause, verdict.at_chance(measured, facts) if cause.status == "none" else None, facts.chance))
    return findings


def cause_sentence(measured: Measured) -> str:
    """Write for the verdict which cue a failing loss relies on, or that it is not settled; nothing where the interventions did not run."""
    cause = find_cause(measured)
    suspect = cause.suspect(cause.family)
    if cause.status == "named" and suspect is not None and suspect.closed is not None:
        if _a_part(suspect.closed):
            return f" A part of what it relies on is {_named(cause)}: {_wins_back(suspect.closed, short=True)}. {_rest(cause)}"
        return f" What it relies on is {_named(cause)}: {_wins_back(suspect.closed, short=True)}."
    if cause.status == "used":
        return f" It reads the class from {_named(cause)}, but that the lack of it costs accuracy on real images is not shown."
    if cause.status == "several":
        names = [FAMILIES[item.family].title for item in cause.suspects if item.used]
        return f" What it relies on is not settled: something in {listed(names)}{'' if len(names) > 1 else ', or another kind of cue'}."
    return {
        "unnamed": " What it relies on is not known: it is carried by the amplitudes of all frequencies, and by no single kind of cue that was exchanged.",
        "none": " What it relies on is not known: none of the kinds of cue that were tried explains it.",
        "unsettled": " What it relies on is not settled: it takes more held-out images to name a kind of cue or to rule it out.",
    }.get(cause.status, "")


def _finding(measured: Measured, cause: Cause, blind: str | None, chance: float) -> Finding:
    """Write one finding; `blind` says who is at chance where nothing is followed, which then says nothing about the cues."""
    fails = verdict.outcome(measured) == "fails"
    verdicts: dict[str, FindingVerdict] = {"named": "fail" if fails else "warn", "used": "warn", "none": "pass"}
    suspect = cause.suspect(cause.family)
    return Finding(
        id=f"cause/{measured.name}",
        probe="interventions",
        verdict="inconclusive" if blind else verdicts.get(cause.status, "inconclusive"),
        statement=_statement(measured, cause) + (f" But {chance_words(chance, blind)}: this rules no cue out." if blind else ""),
        students=list(measured.students),
        evidence=_evidence(cause),
        alternatives=_ruled_out(measured, cause) if fails and cause.status == "named" else [],
        recommendation=_remedy(measured, suspect) if fails and cause.status == "named" and suspect is not None else "",
    )


def _named(cause: Cause) -> str:
    """Name the cue: its family, and for one that is named by its place which place and what it is made of."""
    words = FAMILIES[cause.family].object_phrase if cause.family else ""
    words += f" (the {cause.where.replace('_', ' ')} quarter)" if cause.where else ""
    return f"{words}, told by {FAMILIES[cause.substance].title}" if cause.substance else words


def _statement(measured: Measured, cause: Cause) -> str:
    name = upper_first(plain(measured.name))
    suspect = cause.suspect(cause.family)
    if suspect is not None:
        text = f"{name} reads the class from {_named(cause)}. {_use(suspect)}"
        if suspect.closed is not None:
            rest = f" {_rest(cause)}" if _a_part(suspect.closed) else ""
            return f"{text} {upper_first(_wins_back(suspect.closed))}.{rest}{_words(cause)}"
        return f"{text} That its absence costs accuracy on real images is not shown.{_words(cause)}"
    used = [item for item in cause.suspects if item.used]
    if cause.status == "several":
        names = listed([FAMILIES[item.family].title for item in used])
        if len(used) == 1 and not used[0].alarm:
            return f"{name} seems to rely on {names}, but no exchange that carries it over is surely followed: it is not settled. {_use(used[0])}"
        if len(used) == 1:
            return (
                f"{name} seems to rely on {names}, but another kind of cue gives real images surely more back: which of them it is, is not "
                f"settled. {_use(used[0])}"
            )
        details = " ".join(_use(item) for item in used[:3])
        return f"{name} relies on something in {names}, and the numbers do not settle which of them it is. {details}"
    if cause.status == "unnamed":
        return (
            f"{name} goes over to the class of an image whose amplitudes of all frequencies it is given, which hold texture, patterns and sharpness "
            "at once, and surely with no single kind of cue: what it is made of is not known, and none is named."
        )
    widest = max((item.followed.estimate.high for item in cause.suspects if item.followed is not None), default=0.0)
    if cause.status == "none":
        return (
            f"Whatever kind of cue was exchanged with another class, {plain(measured.name)} followed it in fewer than {in_percent(widest, 0)} of 100 images, "
            "after what its teacher follows and what it follows on real images is taken off: none of these explains what it does."
        )
    return (
        f"No kind of cue is shown to be used by {plain(measured.name)}, but the intervals reach up to {in_percent(widest, 0)} points: it takes more "
        "held-out images to rule one out."
    )


def _a_part(closed: EditScore) -> bool:
    """Return whether a named cue surely accounts for less than `verdict.MOSTLY` of the gap, so that it is not the whole answer."""
    return verdict.compare(closed.estimate, verdict.MOSTLY) == "below"


def _rest(cause: Cause) -> str:
    """Write that a named cue leaves most of the gap open, and at which other kinds blunt edits hint."""
    hints = [FAMILIES[item.family].title for item in cause.suspects if item.used and item.family not in (cause.family, cause.substance)]
    return f"The larger part is not settled{f'; there are hints of {listed(hints)}' if hints else ''}."


def _words(cause: Cause) -> str:
    """Write the words that discovery found for the cue, each with its class."""
    if not cause.words:
        return ""
    quoted = [f"'{word.word}'{f' for {word.of}' if word.of else ''} ({points(word.used)})" for word in cause.words[:MOST_WORDS]]
    return f" In words: real images of other classes that show it are called by that class more often than by the teacher: {', '.join(quoted)}."


def _use(suspect: CueEvidence) -> str:
    """Write what shows that a cue is used, with the number that does it."""
    if suspect.alarm and suspect.followed is not None:
        carried, more = EDITS[suspect.followed.edit].short, points(suspect.followed.estimate)
        if EDITS[suspect.followed.edit].kind == "matched":
            return (
                f"A real image that gets {carried} of a synthetic image is named right {more} more often when that image is of its own class "
                "than when it is of another, compared with its teacher and with what a real image lends."
            )
        return (
            f"Given {carried} of a synthetic image of another class, it goes over to that class {more} more than its teacher does, and than it does "
            "on real images."
        )
    if suspect.blunt is None:
        return ""
    edit = plain(suspect.blunt.edit)
    if EDITS[suspect.blunt.edit].kind == "isolates":
        return f"With little but this left ({edit}), it is right {points(suspect.blunt.estimate)} more often than its teacher and than on real images."
    return f"With this taken away ({edit}), it loses {points(suspect.blunt.estimate)} more than its teacher and than on real images."


def _wins_back(closed: EditScore, *, short: bool = False) -> str:
    whole = with_interval(closed.estimate, digits=0, percent=True, unit=" %")
    share = (f"{in_percent(closed.estimate.value, 0)} %" if short else whole) + " of the gap to synthetic ones"
    if closed.edit.startswith("matched_"):
        carried = EDITS[closed.edit].short
        return f"given {carried} of a synthetic image of their class, real images win back {share}"
    return f"with it taken away from both domains ({plain(closed.edit)}), {share} closes"


def _evidence(cause: Cause) -> list[Evidence]:
    evidence = []
    for item in cause.suspects:
        words = FAMILIES[item.family].title
        if item.followed is not None:
            whose = "a synthetic" if EDITS[item.followed.edit].kind == "swapped" else "a real"
            what = f"{whose} image goes over with an exchanged {plain(item.followed.exchange)} ({words})"
            evidence.append(Evidence(what=what, estimate=item.followed.estimate, unit="points", source=f"reliance/{item.followed.edit}"))
        if item.blunt is not None:
            what = f"{plain(item.blunt.edit)}, beyond teacher and real images ({words})"
            evidence.append(Evidence(what=what, estimate=item.blunt.estimate, unit="points", source=f"reliance/{item.blunt.edit}"))
        if item.closed is not None:
            what = f"share of the gap closed by {plain(item.closed.edit)} ({words})"
            evidence.append(Evidence(what=what, estimate=item.closed.estimate, unit="share", source=f"gap_closed/{item.closed.edit}"))
    return evidence


def _ruled_out(measured: Measured, cause: Cause) -> list[Alternative]:
    """Go through the families that were not named for a failing loss."""
    named = cause.suspect(cause.family)
    followed = None if named is None or named.followed is None else named.followed.estimate
    alternatives = []
    for item in cause.suspects:
        if item.family == cause.family or item.followed is None:
            continue
        name = f"{FAMILIES[item.family].title} as the cue of {plain(measured.name)}"
        because = f"Given {EDITS[item.followed.edit].short} of another class, it goes over {_more(item.followed.estimate)} often."
        if item.family == cause.substance:
            alternatives.append(Alternative(name=name, status="supported", because=f"{because} The cue at that place is made of it."))
        elif followed is not None and verdict.surely_more(followed, item.followed.estimate):
            alternatives.append(
                Alternative(name=name, status="ruled out", because=f"{because} That is surely less than for the named cue.")
            )
        elif item.kind == "border" and cause.hidden is not None and verdict.compare(cause.hidden, verdict.MOSTLY) == "below":
            share = with_interval(cause.hidden, digits=0, percent=True, unit=" %")
            because = f"Hiding the border closes {share} of the gap only: the cue is in the centre as well."
            alternatives.append(Alternative(name=name, status="ruled out", because=because))
        else:
            alternatives.append(Alternative(name=name, status="not ruled out", because=because))
    return alternatives


def _more(value: Estimate) -> str:
    return f"{points(value)} more" if value.value >= 0 else f"{points(negative(value))} fewer"


def _remedy(measured: Measured, suspect: CueEvidence) -> str:
    if suspect.closed is None:
        return ""
    value = suspect.closed.estimate
    closed = with_interval(value, digits=0, percent=True, unit=" %")
    return f"{upper_first(FAMILIES[suspect.family].remedy)}: matching this cue closed {closed} of the gap of {plain(measured.name)}."


def strongest(failing: Sequence[Measured]) -> Measured | None:
    """Return the failing loss that is furthest behind on real images, whose cause the verdict tells."""
    return max(failing, key=lambda measured: measured.behind_real.value, default=None)

"""From interventions to a named cue: what the student reads the class from, in which family of cues, and what it costs; no words.

The mapping follows from what each edit does, not from examples. An exchange (`swapped_…`, `matched_…`) carries one kind of cue from image
to image and leaves the other kinds alone. If the student goes over to the class whose cue it was given, or if a synthetic cue of the own
class serves it better than one of another class, it uses a cue of that kind; if real images of a class are named right again once they carry
the synthetic cue of their class, its absence is what they fail by. Edits that only take away or isolate damage much else: they can say that
something is used, and never name it. Five kinds say what a cue is made of. Border and windows say where it is, so they are no rivals of
the five: the cue lies at the border when hiding the border takes it away, and in a window when that quarter of the image alone carries most
of it and the border little.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from diagnose.judge import verdict
from diagnose.judge.facts import Measured
from diagnose.schema import Estimate
from probes.discovery.vocabulary import BUILT_IN, FAMILY_OF_KIND
from probes.edits import EDITS, FAMILIES
from probes.edits.families import FamilyKind

HIDING = "centre_only"
"""The edit that takes the whole border away."""

Status = Literal["named", "used", "several", "unnamed", "none", "unsettled", "untested"]
"""`named`: one family is used and its absence costs accuracy on real images. `used`: one is used, and no cost is shown. `several`:
more than one, and the numbers do not rank them. `unnamed`: an exchange of several kinds at once is followed, and none of one kind. `none`: no cue of these
families is used, with narrow intervals. `unsettled`: nothing is shown, with wide ones. `untested`: the interventions did not run."""


@dataclass(frozen=True)
class EditScore:
    """What one edit showed."""

    edit: str
    estimate: Estimate

    @property
    def exchange(self) -> str:
        """Name of the exchange, without its kind."""
        return self.edit.removeprefix("swapped_").removeprefix("matched_")


@dataclass(frozen=True)
class CueEvidence:
    """What the interventions say of one family of cues.

    Args:
        family: key of `probes.edits.FAMILIES`.
        followed: the exchange that the student follows most, beyond its teacher and beyond real images: `swapped_…`, on synthetic images, or
            `matched_…`, on real ones, against the same exchange with another class.
        alarm: whether `followed` stands after the correction for many edits.
        blunt: the strongest alarm among edits that take the cue away or leave little else; None without one.
        closed: the edit that closes the largest share of the gap, if surely more than nothing.
    """

    family: str
    followed: EditScore | None = None
    alarm: bool = False
    blunt: EditScore | None = None
    closed: EditScore | None = None

    @property
    def kind(self) -> FamilyKind:
        """What the family says of a cue: what it is made of, or where it lies."""
        return FAMILIES[self.family].kind

    @property
    def used(self) -> bool:
        """Whether something of this family is shown to be used; by a blunt edit only beside a matched cue that helps, and that names nothing."""
        return self.alarm or (self.blunt is not None and self.given_back is not None)

    @property
    def given_back(self) -> Estimate | None:
        """Share of the gap that a matched cue of this family closes, where it surely closes any."""
        return self.closed.estimate if self.closed is not None and self.closed.edit.startswith("matched_") else None

    @property
    def strength(self) -> float:
        """How much of it is shown, to rank by: the exchange that is followed, else the share that a matched cue closes, below any of these."""
        if self.alarm and self.followed is not None:
            return 1.0 + self.followed.estimate.value
        return self.closed.estimate.value if self.used and self.closed is not None else -1.0


@dataclass(frozen=True)
class Word:
    """A word that fits the synthetic images of a class and that the student takes for the class.

    Args:
        word: from discovery's vocabulary.
        of: the class, empty where it fits the synthetic images of all.
        used: how much more often than its teacher the student calls real images of other classes that show it by this class.
    """

    word: str
    of: str
    used: Estimate


@dataclass(frozen=True)
class Cause:
    """What the interventions of one loss's students come to.

    Args:
        status: see `Status`.
        family: the named family, or None.
        substance: what a cue that is named by its place is made of, where one exchange says so; else None.
        where: the window (key of `probes.edits.regions.WINDOWS`) that a cue named by its place lies in, if it lies in one.
        suspects: all families, the strongest first.
        hidden: share of the gap that closes when the border is hidden, where known.
        words: what discovery calls a cue of the named family, the most used first.
    """

    status: Status
    family: str | None = None
    substance: str | None = None
    where: str | None = None
    suspects: tuple[CueEvidence, ...] = ()
    hidden: Estimate | None = None
    words: tuple[Word, ...] = ()

    def suspect(self, family: str | None) -> CueEvidence | None:
        """Find a family's evidence."""
        return next((item for item in self.suspects if item.family == family), None)


def find_cause(measured: Measured) -> Cause:
    """Name the cue that the students of one loss rely on, as far as their interventions license it.

    Args:
        measured: with scores `interventions/…`, and `discovery/…` for words.
    """
    cause = _by_edits(measured)
    return replace(cause, words=_words(measured.scores, {cause.family, cause.substance} - {None}))


def _by_edits(measured: Measured) -> Cause:
    scores = {name.removeprefix("interventions/"): value for name, value in measured.scores.items() if name.startswith("interventions/")}
    if not any(name.startswith("reliance/") for name in scores):
        return Cause("untested")
    every = [_suspect(name, scores) for name, family in FAMILIES.items() if family.nameable]
    suspects = tuple(sorted(every, key=lambda item: -item.strength))
    hidden = scores.get(f"gap_closed/{HIDING}")
    used = [item for item in suspects if item.used]
    if not used:
        return Cause(_without(suspects, scores), suspects=suspects, hidden=hidden)
    border, mark = (next((item for item in used if item.kind == kind), None) for kind in ("border", "window"))
    made_of = [item for item in used if item.kind == "substance"]
    clear = bool(made_of) and made_of[0].alarm and _clear(made_of, suspects)
    substance = made_of[0].family if clear else None
    there = None if border is None else _at_border(border, made_of[:1], hidden, suspects)
    if border is not None and border.alarm and there:
        where = _where(mark) if mark is not None and verdict.mostly(_followed(mark), _followed(border)) else None
        return _named(border, suspects, hidden, substance=substance, where=where)
    around = next((item.followed.estimate for item in suspects if item.kind == "border" and item.followed is not None), None)
    if mark is not None and verdict.lies_in_window(_followed(mark), [_followed(item) for item in made_of], around):
        return _named(mark, suspects, hidden, substance=substance, where=_where(mark))
    if not made_of:
        return Cause(_without(suspects, scores), suspects=suspects, hidden=hidden)
    if not clear or (border is not None and (there or there is None)):
        return Cause("several", suspects=suspects, hidden=hidden)
    return _named(made_of[0], suspects, hidden)


def _where(mark: CueEvidence) -> str | None:
    return None if mark.followed is None else mark.followed.exchange.removeprefix("window_")


def _at_border(
    place: CueEvidence, substance: Sequence[CueEvidence], hidden: Estimate | None, suspects: Sequence[CueEvidence]
) -> bool | None:
    """Return whether the cue lies at the border. An exchange that is followed outranks blunt edits, whichever of the two it is.

    Blunt edits of the border and a matched border speak for every cue that covers the image as well: alone they name no place. An exchanged
    border that no substance stands beside is a place only if it is followed surely more than each of them, since it carries most of the image.
    """
    border = None if place.followed is None else place.followed.estimate
    back = (place.given_back, substance[0].given_back if substance else None)
    known = verdict.lies_at_border(border, _followed(substance[0]) if substance else None, hidden, back)
    if known is not None or border is None or not place.alarm or any(item.alarm for item in substance):
        return known
    others = [item.followed.estimate for item in suspects if item.kind == "substance" and item.followed is not None]
    return True if all(verdict.surely_more(border, other) for other in others) else None


def _clear(made_of: Sequence[CueEvidence], suspects: Sequence[CueEvidence]) -> bool:
    """Return whether one substance surely explains more than each other that is used, and no other gives real images surely more back.

    An exchange with another class and one with the same class are two tests of one thing: where they contradict, nothing is named.
    """
    first = made_of[0]
    rivals = [item.given_back for item in suspects if item.kind == "substance" and item is not first]
    back = None if first.closed is None else first.closed.estimate
    if any(back is None or verdict.surely_more(other, back) for other in rivals if other is not None):
        return False
    return len(made_of) == 1 or _stronger(first, made_of[1])


def _followed(suspect: CueEvidence) -> Estimate | None:
    return suspect.followed.estimate if suspect.alarm and suspect.followed is not None else None


def _stronger(first: CueEvidence, second: CueEvidence) -> bool:
    """Return whether one family surely explains more than another; an exchange that is followed outranks blunt edits."""
    mine, others = _followed(first), _followed(second)
    if mine is not None:
        return others is None or verdict.surely_more(mine, others)
    if first.closed is None or second.closed is None:
        return False
    return verdict.surely_more(first.closed.estimate, second.closed.estimate)


def _named(
    suspect: CueEvidence, suspects: tuple[CueEvidence, ...], hidden: Estimate | None, substance: str | None = None, where: str | None = None
) -> Cause:
    return Cause("named" if suspect.closed is not None else "used", suspect.family, substance, where, suspects, hidden)


def _without(suspects: tuple[CueEvidence, ...], scores: Mapping[str, Estimate]) -> Status:
    """Return what it means that no family is named.

    Only an exchange shows a cue that tells the class: an edit that takes away or isolates may do more damage to images of one domain, and a
    border or window that goes over carries a part of the object. A surely negative number is passed over on purpose: there the teacher or real
    images follow more, which clears the student (docs/verdict.md).
    """
    if any(verdict.alarms(scores, name) for name, edit in EDITS.items() if edit.partnered and not FAMILIES[edit.family].is_place):
        return "unnamed"
    followed = [item.followed.estimate for item in suspects if item.followed is not None]
    return "none" if followed and all(verdict.compare(value, verdict.NOT_FOLLOWED) == "below" for value in followed) else "unsettled"


def _suspect(family: str, scores: Mapping[str, Estimate]) -> CueEvidence:
    edits = [name for name, edit in EDITS.items() if edit.family == family]
    exchanged = [name for name in edits if EDITS[name].partnered and f"reliance/{name}" in scores]
    alarmed = [name for name in exchanged if verdict.alarms(scores, name)]
    followed = max(alarmed or exchanged, key=lambda name: scores[f"reliance/{name}"].value, default=None)
    blunt = [name for name in edits if EDITS[name].kind in ("removes", "isolates") and verdict.alarms(scores, name)]
    strongest = max(blunt, key=lambda name: scores[f"reliance/{name}"].value, default=None)
    closing = [name for name in edits if f"gap_closed/{name}" in scores and verdict.closes(scores[f"gap_closed/{name}"])]
    # A matched cue is proof by giving it, which damages nothing else; an edit that removes is the second best.
    closing = [name for name in closing if name.startswith("matched_")] or closing
    best = max(closing, key=lambda name: scores[f"gap_closed/{name}"].value, default=None)
    return CueEvidence(
        family,
        None if followed is None else EditScore(followed, scores[f"reliance/{followed}"]),
        bool(alarmed),
        None if strongest is None else EditScore(strongest, scores[f"reliance/{strongest}"]),
        None if best is None else EditScore(best, scores[f"gap_closed/{best}"]),
    )


def _words(scores: Mapping[str, Estimate], families: Collection[str | None]) -> tuple[Word, ...]:
    """Find the words of these families that the student is shown to follow, after discovery's correction for all names."""
    kind_of = {word: kind for kind, words in BUILT_IN.items() for word in words}
    used_words = []
    for name, used in scores.items():
        if not name.startswith("discovery/used/"):
            continue
        of, _, word = name.removeprefix("discovery/used/").rpartition("/")
        adjusted = scores.get(name.replace("/used/", "/adjusted_p/used/", 1))
        if FAMILY_OF_KIND.get(kind_of.get(word, "")) in families and adjusted is not None and verdict.alarms_at(used, adjusted):
            used_words.append(Word(word, of, used))
    return tuple(sorted(used_words, key=lambda item: -item.used.value))

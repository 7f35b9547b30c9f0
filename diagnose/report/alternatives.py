"""Other explanations of a failure on real images, and which control speaks for or against each."""

from __future__ import annotations

from collections.abc import Sequence

from diagnose.judge import verdict
from diagnose.judge.facts import Facts, LevelContrast, Measured
from diagnose.judge.verdict import AUC_MARGIN, MARGIN, Label, compare
from diagnose.schema import Alternative, Estimate
from diagnose.wording.factor_words import change
from diagnose.wording.words import bare_percent, listed, more_or_less, number, percent, plain, points, upper_first


def alternatives(facts: Facts, label: Label) -> list[Alternative]:
    """List the other explanations; one is ruled out only by a number.

    Args:
        facts: the numbers.
        label: the label already chosen.
    """
    judged = verdict.judged(facts)
    failing = [measured for measured in judged if verdict.outcome(measured) == "fails"]
    if not failing:
        return []
    return [
        _randomness(failing),
        _under_training(failing),
        _optimisation(facts, failing, label),
        _domain_difficulty(facts, failing),
        _capacity(facts, failing),
        _false_negatives(facts, failing, judged),
        _temperature(facts, failing, judged),
        _codec(facts),
    ]


def _randomness(failing: Sequence[Measured]) -> Alternative:
    single = [measured.name for measured in failing if measured.excess.over == "images"]
    if single:
        because = f"One training only of {listed(single)}: another seed could give another number."
        return Alternative(name="chance of one training", status="untested", because=because)
    because = f"The intervals cover {min(len(measured.students) for measured in failing)} seeds or more of each failing loss."
    return Alternative(name="chance of one training", status="ruled out", because=because)


def _under_training(failing: Sequence[Measured]) -> Alternative:
    behind = [measured for measured in failing if compare(measured.behind_synthetic, MARGIN) != "below"]
    if not behind:
        words = ", ".join(f"{plain(measured.name)} {bare_percent(measured.synthetic)}" for measured in failing)
        because = f"Accuracy on held-out synthetic images is surely not {100 * MARGIN:.0f} points below the teacher's: {words}."
        return Alternative(name="under-training", status="ruled out", because=because)
    worst = max(behind, key=lambda measured: measured.behind_synthetic.value)
    because = (
        f"{upper_first(plain(worst.name))} is {more_or_less(worst.behind_synthetic, 'behind', 'ahead of')} the teacher on held-out "
        "synthetic images; a shortfall there is no matter of real against synthetic."
    )
    if all(compare(measured.mostly_behind, verdict.MAJORITY) == "below" for measured in behind):
        because += " What the change of domain adds is surely more, so under-training is not the main cause."
        return Alternative(name="under-training", status="ruled out", because=because)
    return Alternative(name="under-training", status="not ruled out", because=because)


def _optimisation(facts: Facts, failing: Sequence[Measured], label: Label) -> Alternative:
    name = "optimisation failure"
    gains = {measured.loss: facts.gains[measured.loss] for measured in failing if measured.loss in facts.gains}
    if label == "training_failure":
        return Alternative(
            name=name, status="supported", because="The same losses do no better in this respect when trained on real images."
        )
    if not gains:
        return Alternative(name=name, status="untested", because="None of the failing losses was also trained on real images.")
    words = "; ".join(f"{plain(loss)} gains {points(gain)}" for loss, gain in gains.items())
    because = f"Trained on real images with all else equal, accuracy on real images changes: {words}."
    left = [measured.loss for measured in failing if measured.loss not in gains]
    if all(compare(gain, MARGIN) == "above" for gain in gains.values()):
        rest = f" Not tested for {listed(left)}." if left else ""
        return Alternative(name=name, status="ruled out" if not left else "not ruled out", because=because + rest)
    return Alternative(name=name, status="not ruled out", because=because)


def _domain_difficulty(facts: Facts, failing: Sequence[Measured]) -> Alternative:
    worst = max(failing, key=lambda measured: measured.excess.value)
    gap = "" if facts.teacher_gap is None else f"The teacher's own gap on the same images is {points(facts.teacher_gap)}; "
    because = f"{gap}that of {plain(worst.name)} is {points(worst.excess)} wider, image by image."
    return Alternative(name="real images are harder", status="ruled out", because=because)


def _capacity(facts: Facts, failing: Sequence[Measured]) -> Alternative:
    name = "capacity"
    unexplained = [measured for measured in failing if not _better_twin(facts, measured)]
    if not unexplained:
        proofs = listed_proofs([proof for measured in failing if (proof := _better_twin(facts, measured))])
        return Alternative(name=name, status="ruled out", because=f"Encoders of the same size do better on real images: {proofs}.")
    comparable = any(_twins(facts, measured) for measured in unexplained)
    because = (
        f"No encoder of the same size is shown to do better on real images than {listed([measured.name for measured in unexplained])}."
    )
    return Alternative(name=name, status="not ruled out" if comparable else "untested", because=because)


def _twins(facts: Facts, measured: Measured) -> list[Measured]:
    return [other for other in facts.measured if other.params == measured.params and other.name != measured.name]


def _better_twin(facts: Facts, measured: Measured) -> str:
    """Describe a student of the same size that surely does better on real images; empty without one."""
    gain = facts.gains.get(measured.loss)
    if gain is not None and compare(gain, MARGIN) == "above":
        return f"{plain(measured.loss)} trained on real images gains {points(gain)}"
    for other in _twins(facts, measured):
        if verdict.clearly_better(other.real, measured.real):
            return f"{plain(other.name)} reaches {percent(other.real)}"
    return ""


def listed_proofs(proofs: Sequence[str]) -> str:
    """Join proofs, each of them once."""
    return "; ".join(dict.fromkeys(proofs))


def _false_negatives(facts: Facts, failing: Sequence[Measured], judged: Sequence[Measured]) -> Alternative:
    name = "false negatives"
    pushed = [measured.name for measured in failing if measured.negatives]
    if not pushed:
        unknown = [measured.name for measured in failing if measured.negatives is None]
        if unknown:
            return Alternative(name=name, status="untested", because=f"It is not known whether {listed(unknown)} has negatives.")
        return Alternative(name=name, status="ruled out", because="No failing loss has negatives.")
    plain_failing = [measured.name for measured in failing if measured.negatives is False]
    negatives = facts.contrast("negatives")
    spared = [item for item in _varied(facts, failing, judged, "positives") if item.level == "class"]
    if spared:
        words = "; ".join(f"{plain(item.having)} {change(item.real)} against {plain(item.other)}" for item in spared)
        settled = all(compare(item.real, MARGIN) == "below" for item in spared)
        because = f"With every item of the class as a right answer, accuracy on real images changes: {words}."
        return Alternative(name=name, status="ruled out" if settled else "not ruled out", because=because)
    if negatives is None:
        return Alternative(name=name, status="untested", because="No two students differ in the negatives alone.")
    because = f"Negatives, which push images of one class apart too, cost {points(negatives.points)}."
    if plain_failing:
        because += f" {listed(plain_failing)} fails without any."
    if verdict.costs(negatives) == "below":
        return Alternative(name=name, status="ruled out", because=because)
    return Alternative(name=name, status="not ruled out", because=because)


def _temperature(facts: Facts, failing: Sequence[Measured], judged: Sequence[Measured]) -> Alternative:
    name = "temperature"
    tried = _varied(facts, failing, judged, "temperature")
    if not tried:
        return Alternative(name=name, status="untested", because="No two students differ in the temperature alone.")
    best = max(tried, key=lambda item: item.real.value)
    because = (
        f"Of {len(tried)} other temperatures the best on real images is {best.level}: {plain(best.having)} {change(best.real)} "
        f"against {best.against}."
    )
    settled = all(compare(item.real, MARGIN) == "below" for item in tried)
    return Alternative(name=name, status="ruled out" if settled else "not ruled out", because=because)


def _varied(facts: Facts, failing: Sequence[Measured], judged: Sequence[Measured], factor: str) -> list[LevelContrast]:
    """Return the contrasts of one factor whose starting point fails, among the students that are judged."""
    starts, names = ({measured.name for measured in students} for students in (failing, judged))
    return [item for item in facts.levels if item.factor == factor and item.other in starts and item.having in names]


def _codec(facts: Facts) -> Alternative:
    value = metadata_auc(facts)
    name = "codec or file facts"
    if value is None:
        return Alternative(name=name, status="untested", because="The images came without file facts (codec, size, quality).")
    because = f"File facts alone tell real from synthetic with an AUC of {number(value)}; chance is 0.50."
    return Alternative(name=name, status="ruled out" if compare(value, 0.5 + AUC_MARGIN) == "below" else "not ruled out", because=because)


def metadata_auc(facts: Facts) -> Estimate | None:
    """Return the AUC of file facts alone, which is the same for all students, or None."""
    return next((m.scores["separability/metadata/auc"] for m in facts.measured if "separability/metadata/auc" in m.scores), None)

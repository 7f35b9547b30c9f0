"""What one probe result asks to be said at once: chance, another text space, a measure that does not apply."""

from __future__ import annotations

from diagnose.judge import verdict
from diagnose.judge.evidence import of_score
from diagnose.wording.space_words import chance_sentence, elsewhere_sentence, own_texts
from probes.result import ProbeResult


def notes_of(result: ProbeResult) -> list[str]:
    """Return the sentences that a result needs beside its numbers; none where there is nothing to say.

    Args:
        result: of any probe; `transfer` and `drift` have something to say.
    """
    if result.probe == "transfer":
        return _of_transfer(result)
    return _of_drift(result) if result.probe == "drift" else []


def _of_transfer(result: ProbeResult) -> list[str]:
    scores = {name: of_score(score, result.counts) for name, score in result.scores.items()}
    chance = max(result.scores[f"zero_shot/{domain}"].chance or 0.0 for domain in ("real", "synthetic"))
    real, synthetic, teacher = scores["zero_shot/real"], scores["zero_shot/synthetic"], scores.get("teacher/zero_shot/real")
    own_space = result.params.get("text_space") == "own"
    notes = [own_texts(scores.get("teacher_space/zero_shot/real"))] if own_space else []
    if teacher is not None and verdict.real_at_chance(teacher, chance):
        above = verdict.compare(scores["teacher/zero_shot/synthetic"], chance) == "above"
        notes.append(chance_sentence(f"the teacher {result.reference}", teacher, chance, synthetic_above=above))
    probe = scores.get("linear_probe/real")
    blind_teacher = teacher is not None and verdict.real_at_chance(teacher, chance)
    if not own_space and not blind_teacher and verdict.lives_elsewhere((real, synthetic), probe, chance):
        notes.append(elsewhere_sentence(result.subject, real, probe, chance))
    elif verdict.real_at_chance(real, chance):
        notes.append(chance_sentence(result.subject, real, chance, synthetic_above=verdict.compare(synthetic, chance) == "above"))
    return notes


def _of_drift(result: ProbeResult) -> list[str]:
    if "cosine" in result.params:
        return [f"cosine {result.params['cosine']}; cka, rsa, knn_overlap and procrustes do not depend on rotations."]
    scores = result.scores
    at_chance = [
        name for name in ("cosine/real", "cosine/synthetic") if name in scores and scores[name].low <= (scores[name].chance or 0.0)
    ]
    rotated = all(scores[f"procrustes/{domain}"].high < (scores[f"procrustes/{domain}"].chance or 0.0) for domain in ("real", "synthetic"))
    if len(at_chance) == 2 and rotated:
        return [
            "cosine is no higher than between different images, while a rotation brings the embeddings nearer to the teacher's (procrustes): "
            "the student was not drawn to its teacher's image embeddings or lives in another space, where the cosine does not apply; cka, rsa, knn_overlap and "
            "procrustes do."
        ]
    return []

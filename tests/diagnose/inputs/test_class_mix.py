"""Both domains are judged on the same mix of classes, so that a weak class alone makes no gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diagnose.inputs.class_mix import TOLERATED, in_one_list, one_sided_sentence, same_classes, same_mix, sentence
from diagnose.inputs.subjects import Domain, Images, Subject
from diagnose.run import diagnose

CLASSES = ("a", "b", "c", "d")


def images(domain: Domain, counts: tuple[int, ...]) -> Images:
    """Images that are of one colour a class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.zeros((len(labels), 3, 8, 8), np.uint8)
    pixels[:] = (40 + 50 * labels)[:, None, None, None] + np.arange(len(labels))[:, None, None, None] % 7
    return Images(domain, np.array([f"{domain}-{row}" for row in range(len(labels))]), labels, pixels, CLASSES)


def share(given: Images) -> np.ndarray:
    return np.bincount(given.labels, minlength=len(CLASSES)) / len(given)


def reader(blind: int | None) -> Subject:
    """Reads the class off the brightness; blind to one class, alike in both domains."""

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        label = ((255 * pixels.mean(dim=(1, 2, 3)) - 40) / 50).floor().long().clamp(0, 3)
        if blind is not None:
            label = torch.where(label == blind, (blind + 1) % 4, label)
        return torch.eye(4)[label] + 0.01

    return Subject(
        "teacher" if blind is None else "student", encode, 10, loss="text", target="text", negatives=True, trained_on="synthetic"
    )


def test_both_domains_get_the_mix_in_proportion_to_the_smaller_share() -> None:
    (real, synthetic), left = same_mix([images("real", (240, 20, 20, 20)), images("synthetic", (75, 75, 75, 75))])

    # The smaller shares are 1/4 and three times 1/15, so the mix is 5/9, 4/27, 4/27, 4/27.
    np.testing.assert_allclose(share(real), share(synthetic), atol=0.01)
    np.testing.assert_allclose(share(real), [5 / 9, 4 / 27, 4 / 27, 4 / 27], atol=0.01)
    assert len(real) == 135
    assert len(synthetic) == 135
    assert left == {"real": 165, "synthetic": 165}
    assert sentence(left).startswith(
        "The classes had other shares in the two domains; 165 real images and 165 synthetic images were left out"
    )


@pytest.mark.parametrize("counts", [(100, 100, 100, 100), (103, 99, 99, 99), (50, 50, 50, 50)])
def test_mixes_that_hardly_differ_stay_as_they_are(counts: tuple[int, ...]) -> None:
    given = [images("real", counts), images("synthetic", (100, 100, 100, 100))]

    kept, left = same_mix(given)

    assert kept == tuple(given)
    assert left == {}
    assert sentence(left) == ""
    assert np.abs(share(given[0]) - share(given[1])).sum() / 2 <= TOLERATED


def test_a_class_that_one_domain_lacks_is_left_out_and_named_with_its_remedy(caplog: pytest.LogCaptureFixture) -> None:
    given = [images("real", (40, 40, 40, 0)), images("synthetic", (30, 30, 30, 12))]

    (real, synthetic), alone = same_classes(given)

    assert alone == {"d": ("synthetic", 12)}
    assert real is given[0]
    assert np.bincount(synthetic.labels, minlength=4).tolist() == [30, 30, 30, 0]
    assert synthetic.class_names == CLASSES  # still among the answers
    expected = (
        "A class that one domain alone has images of is left out of every measurement: 'd' (12 synthetic images). "
        "Add images of the other domain, or give it the same name in both."
    )
    assert one_sided_sentence(alone) == expected
    assert expected in caplog.text


def test_with_one_class_in_common_nothing_is_left_out_and_the_probes_name_it() -> None:
    given = [images("real", (40, 40, 0, 0)), images("synthetic", (30, 0, 30, 12))]

    assert same_classes(given) == (tuple(given), {})


def test_lists_of_classes_become_one_that_holds_all() -> None:
    longer = replace(images("synthetic", (2, 2, 2, 2)), class_names=("b", "d", "a", "c"))
    shorter = replace(images("real", (3, 1)), class_names=("a", "b"))
    other = replace(images("synthetic", (1, 2)), class_names=("e", "a"))

    one, two = in_one_list([shorter, longer])
    three, four = in_one_list([shorter, other])

    assert one.class_names == two.class_names == ("b", "d", "a", "c")
    assert one.labels.tolist() == [2, 2, 2, 0]
    assert two is longer
    assert one.fingerprint != shorter.fingerprint  # tables keep labels, and are found by the fingerprint
    assert three.class_names == four.class_names == ("a", "b", "e")
    assert four.labels.tolist() == [2, 0, 0]


def test_probes_run_on_the_classes_that_both_domains_have(tmp_path: Path) -> None:
    real, synthetic = images("real", (40, 40, 40, 0)), images("synthetic", (40, 40, 40, 25))

    found = diagnose(
        [reader(0)],
        reader(None),
        class_weights=np.eye(4),
        real=real,
        synthetic=synthetic,
        out=tmp_path,
        name="classes",
        probes=("transfer",),
    )

    assert [record.status for record in found.probes] == ["done"]
    assert found.counts["classes/left_out"] == 1
    assert found.counts["images/synthetic"] == 120
    assert found.students[0].zero_shot.synthetic is not None
    assert found.students[0].zero_shot.synthetic.n == 120
    (missing,) = [finding for finding in found.findings if finding.id == "missing"]
    assert missing.verdict == "inconclusive"
    assert "'d' (25 synthetic images). Add images of the other domain" in missing.statement


def test_a_weak_class_that_is_more_frequent_in_one_domain_makes_no_gap(tmp_path: Path) -> None:
    real, synthetic = images("real", (240, 20, 20, 20)), images("synthetic", (75, 75, 75, 75))

    found = diagnose(
        [reader(0)], reader(None), class_weights=np.eye(4), real=real, synthetic=synthetic, out=tmp_path, name="mix", probes=("transfer",)
    )

    accuracy = found.students[0].zero_shot
    assert accuracy.real is not None
    assert accuracy.synthetic is not None
    assert accuracy.real.value == pytest.approx(accuracy.synthetic.value, abs=0.01)
    assert "fails" not in found.verdict.label
    assert found.counts["images/left_out/real"] == 165
    assert "were left out, so that both are judged on the same mix of classes" in found.about


def test_a_teacher_that_names_the_largest_class_alone_is_at_chance(tmp_path: Path) -> None:
    counts = (100, 20, 20, 20)
    student = replace(reader(None), name="student")
    constant = Subject("teacher", lambda pixels: torch.eye(4)[0] + pixels.mean(dim=(1, 2, 3))[:, None] * torch.tensor([0, 0.1, 0, 0]), 10)

    found = diagnose(
        [student], constant, class_weights=np.eye(4), real=images("real", counts), synthetic=images("synthetic", counts), out=tmp_path,
        name="constant", probes=("transfer",),
    )  # fmt: skip

    assert found.verdict.label == "inconclusive"
    assert "the teacher itself is at chance on both domains (62 % of real images, 62.5 % by chance)" in found.verdict.statement

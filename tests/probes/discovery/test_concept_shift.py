"""Words: which a tower knows, which fit synthetic images, and the statistics behind both."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from probes.discovery.concept_directions import LEAST_SHARED, learn_words
from probes.discovery.concept_shift import best_word, select_words, word_shift
from probes.discovery.vocabulary import BUILT_IN, CONTEXTS, read_vocabulary

NAMES = ("cat", "dog", "ship", "frog")
D = 32


def tower(known: tuple[str, ...]):
    """A text tower that adds one direction for each word it knows, and something else for every text with a word it does not."""
    learnt = {word: place for place, word in enumerate((*NAMES, *known))}
    skipped = {"a", "photo", "of", "on"}

    def embed_text(texts: list[str]) -> np.ndarray:
        rows = np.zeros((len(texts), D))
        for row, text in enumerate(texts):
            for token in text.split():
                if token in learnt:
                    rows[row, learnt[token]] += 1.0
                elif token not in skipped:
                    draw = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
                    rows[row] += 0.2 * draw.normal(size=D)
            rows[row, -1] += 0.5
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return embed_text


def test_a_tower_knows_the_words_it_was_made_with_and_no_others():
    words = learn_words(tower(("red", "grass")), {"colour": ("red", "blue", "green"), "background": ("grass", "sand")}, NAMES)

    assert {word for word, known in zip(words.words, words.known, strict=True) if known} == {"red", "grass"}
    assert words.agreement[words.words.index("red")] > 0.9
    assert words.bar >= LEAST_SHARED


def test_a_tower_that_knows_only_class_names_knows_no_word_of_the_list():
    words = learn_words(tower(()), BUILT_IN, NAMES)

    assert not words.known.any()
    assert len(words.words) > 140


def test_words_that_are_class_names_are_left_out():
    words = learn_words(tower(()), {"attribute": ("old", "cat", "wild cat")}, NAMES)

    assert words.words == ("old",)


def test_every_kind_of_the_built_in_list_has_captions_and_no_word_twice():
    assert set(BUILT_IN) == set(CONTEXTS)
    words = [word for some in BUILT_IN.values() for word in some]
    assert len(set(words)) == len(words)


def test_a_users_vocabulary_is_read_by_kind(tmp_path):
    (tmp_path / "words.txt").write_text("watermark\n\n# Colour\nteal\n mauve \nteal\n")

    assert read_vocabulary(tmp_path / "words.txt") == {"given": ("watermark",), "colour": ("teal", "mauve")}


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        (None, FileNotFoundError, "must be a text file that exists"),
        (b"\n# colour\n", ValueError, "at least one word"),
        (b"\xff\xfe", ValueError, "UTF-8"),
    ],
)
def test_a_vocabulary_that_cannot_be_read_is_refused(tmp_path, written, error, message):
    if written is not None:
        (tmp_path / "words.txt").write_bytes(written)

    with pytest.raises(error, match=message):
        read_vocabulary(tmp_path / "words.txt")


def gains(rng, *, count: int = 60, words: int = 12):
    labels = np.arange(2 * 4 * count) % 4
    synthetic = np.arange(len(labels)) >= 4 * count
    return rng.normal(size=(len(labels), words)), labels, synthetic


def test_a_shift_of_the_domain_and_a_tie_to_a_class_are_told_apart():
    gain, labels, synthetic = gains(np.random.default_rng(0))
    gain[synthetic, 3] += 1.0  # every class
    for label in range(4):  # one word for each class: domain means stay
        gain[synthetic & (labels == label), 4 + label] += 1.2
        gain[synthetic & (labels != label), 4 + label] -= 0.4

    shift = word_shift(gain, labels, synthetic, unit=1.0, permutations=99, seed=0)

    assert set(np.flatnonzero(shift.everywhere_p < 0.05)) == {3}
    assert {tuple(found) for found in np.argwhere((shift.tied_p < 0.05) & (shift.tied > 0))} == {(label, 4 + label) for label in range(4)}
    assert shift.everywhere[3] == pytest.approx(1.0, abs=4 * shift.everywhere_error[3])
    assert shift.tied[1, 5] == pytest.approx(1.6, abs=4 * shift.tied_error[1, 5])


def test_shifts_are_the_differences_of_means_in_units_of_the_class_name():
    gain, labels, synthetic = gains(np.random.default_rng(1), count=5, words=2)

    shift = word_shift(gain, labels, synthetic, unit=0.5, permutations=19, seed=0)

    per_class = np.array([gain[synthetic & (labels == c)].mean(axis=0) - gain[~synthetic & (labels == c)].mean(axis=0) for c in range(4)])
    np.testing.assert_allclose(shift.everywhere, per_class.mean(axis=0) / 0.5)
    np.testing.assert_allclose(shift.tied[2], (per_class[2] - per_class[[0, 1, 3]].mean(axis=0)) / 0.5)


def test_shuffled_domains_give_a_name_in_at_most_five_percent_of_the_draws():
    rng, times, fired = np.random.default_rng(2), 60, 0
    for draw in range(times):
        gain, labels, synthetic = gains(rng, count=12)
        shift = word_shift(gain, labels, synthetic, unit=1.0, permutations=99, seed=draw)
        fired += bool((shift.everywhere_p < 0.05).any() or (shift.tied_p < 0.05).any())

    assert fired <= 0.05 * times + 3.1 * np.sqrt(0.05 * 0.95 * times)


def test_an_echo_of_a_word_is_no_second_name_and_an_effect_of_its_own_is():
    """Word 1 goes along with word 0 by 0.6 and has nothing else; word 2 is independent of both."""
    alike = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])

    assert select_words(np.array([1.0, 0.6, 0.5]), alike) == [0, 2]
    assert select_words(np.array([1.0, 1.5, 0.5]), alike) == [1, 2]
    assert select_words(np.zeros(0), np.zeros((0, 0))) == []


def test_the_best_word_is_that_of_the_largest_correlation_within_strata():
    rng = np.random.default_rng(3)
    strata = np.arange(200) % 2
    gain = rng.normal(size=(200, 6)) + 5 * strata[:, None]
    activation = gain[:, 4] - 5 * strata + 0.5 * rng.normal(size=200) - 10 * strata

    place, score, p = best_word(activation, gain, strata, permutations=99, seed=0)
    _, _, chance = best_word(rng.normal(size=200), gain, strata, permutations=99, seed=0)

    assert place == 4
    within = [np.corrcoef(activation[strata == s], gain[strata == s, 4])[0, 1] for s in (0, 1)]
    assert score == pytest.approx(np.mean(within), abs=0.02)
    assert p == 0.01
    assert chance > 0.05

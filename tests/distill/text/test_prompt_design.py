"""All-pairs designs, contexts and prompts: every pair is covered, sizes are near the reference's, weights stay out of captions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.text.contexts import Contexts, diverse_prompts, plain_prompts, read_contexts
from distill.text.pairwise import all_pairs
from distill.text.prompts import PROMPT_SETS, check_class_names, strip_weights


def pairs(rows: Sequence[Sequence[int]]) -> set[tuple[int, int, int, int]]:
    """Give (factor, option, other factor, other option) of all pairs that meet in a row."""
    return {(f, row[f], g, row[g]) for row in rows for f, g in itertools.combinations(range(len(row)), 2)}


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 3))
def test_every_pair_of_options_meets_and_no_option_is_out_of_range(sizes: list[int], seed: int) -> None:
    rows = all_pairs(sizes, seed=seed)

    wanted = pairs(list(itertools.product(*(range(size) for size in sizes))))
    assert pairs(rows) == wanted
    assert {option for row in rows for option in row[:1]} == set(range(sizes[0]))
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(("options", "paper"), [(5, 30), (10, 111), pytest.param(15, 265, marks=pytest.mark.slow)])
def test_sizes_are_near_those_of_allpairspy(options: int, paper: int) -> None:
    """Popp et al.'s designs come from allpairspy: 30, 111, 265 prompts a class. Ours may be a tenth larger at most."""
    allpairspy = pytest.importorskip("allpairspy")
    reference = len(list(allpairspy.AllPairs([list(range(options))] * 4)))

    ours = len(all_pairs([options] * 4))

    assert reference == paper
    assert options**2 <= ours <= 1.1 * reference


DOCUMENTED = re.findall(
    r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$",
    (Path(__file__).parents[3] / "docs" / "synthesize.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)


def test_the_documented_designs_are_of_five_ten_and_fifteen_options() -> None:
    assert [int(options) for options, *_ in DOCUMENTED] == [5, 10, 15]


@pytest.mark.parametrize(
    ("options", "ours", "reference", "least"), [*DOCUMENTED[:2], *(pytest.param(*row, marks=pytest.mark.slow) for row in DOCUMENTED[2:])]
)
def test_designs_have_the_documented_sizes(options: str, ours: str, reference: str, least: str) -> None:
    allpairspy = pytest.importorskip("allpairspy")

    assert len(all_pairs([int(options)] * 4)) == int(ours)
    assert len(list(allpairspy.AllPairs([list(range(int(options)))] * 4))) == int(reference)
    assert int(options) ** 2 == int(least)


def test_the_default_design_stays_the_one_that_stored_sets_were_drawn_from() -> None:
    """Another design is another set of prompts: `synthesize --resume` would refuse the sets that exist."""
    assert all_pairs([5, 5, 5, 5])[:3] == [(4, 0, 1, 1), (1, 1, 2, 4), (3, 3, 4, 3)]
    assert all_pairs([10, 10, 10, 10])[:3] == [(3, 4, 4, 6), (7, 3, 7, 7), (8, 5, 5, 3)]


def test_a_small_design_may_be_larger_than_the_smallest_one() -> None:
    """The search is greedy: 4 rows hold all pairs of three factors with two options, and allpairspy finds them."""
    allpairspy = pytest.importorskip("allpairspy")

    assert len(list(allpairspy.AllPairs([[0, 1]] * 3))) == 4
    assert {len(all_pairs([2, 2, 2], seed=seed)) for seed in range(20)} == {5, 6}


def test_a_design_depends_on_its_seed_alone() -> None:
    assert all_pairs([4, 4, 4], seed=1) == all_pairs([4, 4, 4], seed=1)
    assert all_pairs([4, 4, 4], seed=1) != all_pairs([4, 4, 4], seed=2)


def test_the_first_rows_cover_as_many_pairs_as_rows_can() -> None:
    rows = all_pairs([5, 5, 5, 5])

    assert len(pairs(rows[:5])) == 5 * 6  # no pair twice


def test_a_design_without_options_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`sizes` must hold at least one factor with at least one option, got \[3, 0\]"):
        all_pairs([3, 0])


@pytest.mark.parametrize(
    ("weighted", "clean"),
    [
        ("A photo of a beagle++++ (dog++, pet), in a garden", "A photo of a beagle (dog, pet), in a garden"),
        ("(a red car)1.2, (at night)0.8", "a red car, at night"),
        ("(a red car:1.3) at (night)--", "a red car at night"),
        ("((very) (old))+ house", "(very) (old) house"),
        ("a T-shirt, 3-4 years old, (worn)", "a T-shirt, 3-4 years old, (worn)"),
    ],
)
def test_weighting_syntax_is_taken_out_and_words_stay(weighted: str, clean: str) -> None:
    assert strip_weights(weighted) == clean


CONTEXTS = """
template = "A photo of a {class}++++ ({superclass}++), {contexts}"
superclass = "pet"
[dimensions]
location = ["in a garden", "on a (beach)1.2"]
time = ["at noon", "at night"]
[classes.dog]
position = ["lying", "running", "sitting"]
"""


def test_prompts_name_class_and_contexts_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    path.write_text(CONTEXTS)

    prompts = diverse_prompts(["dog", "maine_coon"], read_contexts(path))

    assert {prompt.text for prompt in prompts["maine_coon"]} == {
        f"A photo of a maine coon (pet), {place}, {time}" for place in ("in a garden", "on a beach") for time in ("at noon", "at night")
    }
    assert len(prompts["dog"]) == 6
    assert prompts["dog"][0].contexts.keys() == {"location", "time", "position"}
    assert not any(sign in prompt.text for sign in ("+", ")1.2") for prompt in prompts["dog"])


def test_contexts_in_json_are_read_the_same(tmp_path: Path) -> None:
    contexts = Contexts(dimensions={"place": ["here", "there"]})
    path = tmp_path / "contexts.json"
    path.write_text(contexts.model_dump_json())

    assert read_contexts(path) == contexts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("template = 'a photo'\n", r"template` must hold \{class\}"),
        ("template = '{class} {where}'\n[dimensions]\nplace = ['x']", r"must name dimensions, .*got \{where\}"),
        ("[dimensions]\nplace = []", r"every dimension must have options"),
        ("[dimensions]\nplace = ['x', 'X']", r"options of 'place' must differ"),
        ("dimension = 3", r"unknown key `dimension`"),
        ("not toml", r"must be TOML, got an error"),
    ],
)
def test_a_bad_file_of_contexts_is_refused_by_its_line_or_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "contexts.toml"
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        read_contexts(path)


def test_contexts_of_a_class_that_is_not_asked_for_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'dgo' too"):
        diverse_prompts(["dog"], Contexts(classes={"dgo": {"place": ["here"]}}))


def test_a_class_without_contexts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have options for every class, got none for 'cat'"):
        diverse_prompts(["dog", "cat"], Contexts(classes={"dog": {"place": ["here"]}}))


def test_plain_prompts_have_one_text_for_each_template_and_those_of_farhat_and_chen_are_at_hand() -> None:
    prompts = plain_prompts(["cat", "sea_lion"], ["a {}++", "{} texture"])

    assert [prompt.text for prompt in prompts["sea_lion"]] == ["a sea lion", "sea lion texture"]
    assert {text for name, texts in PROMPT_SETS.items() if name.startswith("farhat") for text in texts} == {
        "a picture of a {}",
        "the inside of a {}",
        "{} texture",
    }


def test_class_names_that_a_prompt_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'sea_lion' and 'Sea lion' \(1 such\)"):
        check_class_names(["sea_lion", "cat", "Sea lion"])
    with pytest.raises(ValueError, match=r"`classes` must hold no empty name"):
        check_class_names(["cat", " "])


@pytest.mark.parametrize(("name", "prompts"), [("pocket", (100, 125)), ("pocket-tied", (12, 12)), ("pets", (25, 33))])
def test_the_shipped_contexts_are_readable_and_as_long_as_their_files_say(name: str, prompts: tuple[int, int]) -> None:
    contexts = read_contexts(Path(__file__).parents[3] / "configs" / "contexts" / f"{name}.toml")

    made = diverse_prompts(list(contexts.classes) or ["one"], contexts)

    assert all(prompts[0] <= len(rows) <= prompts[1] for rows in made.values())

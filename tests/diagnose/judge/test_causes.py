"""From interventions to a named cue, on hand-made scores that follow from what each edit does to each kind of cue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diagnose.judge.causes import find_cause
from diagnose.judge.facts import Facts, Measured
from diagnose.report import findings, statement
from diagnose.report.cause_findings import cause_findings, cause_sentence
from diagnose.schema import Estimate
from probes.edits import EDITS, EXCHANGES, FAMILIES


def near(value: float, half: float = 0.06) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=500)


def measured(used: dict[str, float] | None = None, closed: dict[str, float] | None = None, *, half: float = 0.06) -> Measured:
    """Give a loss that is 40 points behind on real images; edits in `used` are relied on by so much, all others by nothing."""
    scores: dict[str, Estimate] = {}
    for name, edit in EDITS.items():
        if edit.masked:
            continue
        value = (used or {}).get(name, 0.0)
        scores[f"interventions/reliance/{name}"] = near(value, half)
        p = 0.001 if value > half else 1.0
        scores[f"interventions/adjusted_p/{name}"] = Estimate(value=p, low=p, high=p, n=500)
    for name, value in (closed or {}).items():
        scores[f"interventions/gap_closed/{name}"] = near(value, half)
    lost, level = near(0.4, 0.03), near(0.0, 0.03)
    return Measured(
        name="image_text",
        loss="image_text",
        trained_on="synthetic",
        target="text",
        negatives=True,
        params=100,
        students=("image_text-0",),
        real=near(0.45, 0.03),
        synthetic=near(0.9, 0.03),
        excess=lost,
        behind_real=lost,
        behind_synthetic=level,
        mostly_behind=near(-0.4, 0.05),
        scores=scores,
    )


def facts(*given: Measured) -> Facts:
    return Facts("clip", near(0.85, 0.01), near(0.9, 0.01), near(0.05, 0.01), 10, measured=given)


SUBSTANCES = tuple(name for name, family in FAMILIES.items() if family.kind == "substance")
EXCHANGE_OF = {"colour": "channel_statistics", "texture": "detail", "shape": "layout", "frequency": "peaks", "codec": "sharpness"}

# A cue that covers the image moves with the border in part, and hiding the border leaves it in the centre.
WHOLE = {family: ({f"swapped_{exchange}": 0.7, "swapped_border": 0.4}, {f"matched_{exchange}": 0.8, "matched_border": 0.6, "centre_only": 0.1})
         for family, exchange in EXCHANGE_OF.items()}  # fmt: skip


@pytest.mark.parametrize("family", SUBSTANCES)
def test_a_cue_of_the_whole_image_is_named_by_the_exchange_that_carries_it(family: str) -> None:
    cause = find_cause(measured(*WHOLE[family]))

    assert (cause.status, cause.family) == ("named", family)


@pytest.mark.parametrize("family", SUBSTANCES)
def test_a_cue_at_the_border_is_named_by_its_place_whatever_it_is_made_of(family: str) -> None:
    exchange = EXCHANGE_OF[family]
    used = {f"swapped_{exchange}": 0.5, "swapped_border": 0.7, "centre_only": 0.5}

    cause = find_cause(measured(used, {f"matched_{exchange}": 0.5, "matched_border": 0.8, "centre_only": 0.9}))

    assert (cause.status, cause.family, cause.substance) == ("named", "border", family)


def test_even_an_equally_strong_border_is_no_place_when_hiding_it_closes_little() -> None:
    used = {"swapped_channel_statistics": 0.64, "swapped_border": 0.66}

    cause = find_cause(measured(used, {"matched_chroma": 0.9, "matched_border": 0.9, "centre_only": 0.17}))

    assert (cause.status, cause.family) == ("named", "colour")


def test_a_border_that_is_needed_but_carries_surely_less_than_the_whole_is_no_place() -> None:
    # As coloured noise on digits gave it: the border is most of an image, and the noise left in the centre was too little to be known by.
    used = {"swapped_traces": 0.65, "swapped_border": 0.37, "border_only": 0.04}

    cause = find_cause(measured(used, {"matched_traces": 0.88, "matched_border": 0.55, "centre_only": 0.99}))

    assert (cause.status, cause.family) == ("named", "codec")


def test_a_border_that_is_hardly_followed_is_no_rival_of_an_exchange_that_is_even_if_hiding_it_settles_nothing() -> None:
    # As a lattice on photographs gave it: hiding the border breaks the pattern's peaks, so blunt edits speak for the border too.
    used = {"swapped_peaks": 0.46, "swapped_border": 0.05, "centre_only": 0.36}
    closed = {"matched_peaks": 1.0, "matched_border": 0.5, "centre_only": 0.5}

    cause = find_cause(measured(used, closed))

    assert (cause.status, cause.family) == ("named", "frequency")


def test_a_followed_border_is_the_place_when_blunt_edits_alone_speak_for_a_substance() -> None:
    used = {"swapped_border": 0.5, "low_pass": 0.3}

    cause = find_cause(measured(used, {"matched_border": 0.8, "matched_detail": 0.2, "centre_only": 0.5}))

    assert (cause.status, cause.family, cause.substance) == ("named", "border", None)


def test_a_mark_away_from_the_border_is_named_by_its_window_and_by_what_it_is_made_of() -> None:
    used = {"swapped_window_middle": 0.6, "swapped_detail": 0.5, "swapped_window_top": 0.2}

    cause = find_cause(measured(used, {"matched_window_middle": 0.9, "matched_detail": 0.6, "centre_only": 0.0}))
    [finding] = cause_findings(facts(measured(used, {"matched_window_middle": 0.9, "matched_detail": 0.6})))

    assert (cause.status, cause.family, cause.substance, cause.where) == ("named", "mark", "texture", "middle")
    assert "something at one place of the image (the middle quarter), told by local texture" in finding.statement


def test_a_mark_in_a_corner_is_at_the_border_and_the_corner_is_told() -> None:
    used = {"swapped_border": 0.7, "swapped_window_top_left": 0.65, "swapped_chroma": 0.4}

    cause = find_cause(measured(used, {"matched_border": 0.9, "matched_window_top_left": 0.9, "centre_only": 0.9}))

    assert (cause.family, cause.substance, cause.where) == ("border", "colour", "top_left")


def test_a_window_of_a_cue_that_covers_the_image_is_no_place() -> None:
    # The border, larger than a window, carries as much of it.
    used = {"swapped_detail": 0.35, "swapped_window_middle": 0.3, "swapped_border": 0.28}

    cause = find_cause(measured(used, {"matched_detail": 0.8, "matched_window_middle": 0.5, "centre_only": 0.1}))

    assert (cause.status, cause.family) == ("named", "texture")


def test_a_window_that_is_followed_alone_without_being_told_from_the_border_is_left_open() -> None:
    cause = find_cause(measured({"swapped_window_middle": 0.2, "swapped_border": 0.08}, half=0.1))

    assert (cause.status, cause.family) == ("unsettled", None)


def test_blunt_edits_and_a_matched_border_alone_name_no_place() -> None:
    # Noise over the whole image did this: hiding the border hurts, and any matched border brings some of the noise along.
    cause = find_cause(measured({"centre_only": 0.3, "low_pass": 0.2}, {"matched_border": 0.6, "centre_only": 0.48}))

    assert (cause.status, cause.family) == ("none", None)


def test_a_followed_border_of_a_cue_that_hiding_it_leaves_is_no_place() -> None:
    cause = find_cause(measured({"swapped_border": 0.3}, {"matched_border": 0.6, "centre_only": 0.1}))

    assert (cause.status, cause.family) == ("unsettled", None)


def test_a_followed_border_alone_is_a_place_only_if_no_substance_may_be_followed_as_much() -> None:
    # As two tones on digits gave it: the border is most of the image, and what a cue of all of it is made of was not followed surely enough.
    closed = {"matched_border": 0.7}

    assert find_cause(measured({"swapped_border": 0.13, "swapped_tones": 0.06}, closed)).status == "unsettled"
    assert find_cause(measured({"swapped_border": 0.3, "swapped_tones": 0.06}, closed)).family == "border"


def test_a_family_is_not_named_where_another_gives_real_images_surely_more_back() -> None:
    used = {"swapped_channel_statistics": 0.2}

    assert find_cause(measured(used, {"matched_channel_statistics": 0.3, "matched_noise": 0.35})).family == "colour"
    assert find_cause(measured(used, {"matched_channel_statistics": 0.3, "matched_noise": 0.9})).status == "several"


def test_no_alarm_with_narrow_intervals_is_none_and_with_wide_ones_unsettled() -> None:
    assert find_cause(measured(half=0.06)).status == "none"
    assert find_cause(measured(half=0.30)).status == "unsettled"


def test_two_families_that_do_not_differ_are_not_ranked() -> None:
    used = {"swapped_channel_statistics": 0.5, "swapped_detail": 0.47}

    cause = find_cause(measured(used, {"matched_chroma": 0.5, "matched_detail": 0.5}))

    assert (cause.status, cause.family) == ("several", None)


def test_a_synthetic_cue_that_serves_real_images_better_from_their_own_class_names_its_family() -> None:
    used, closed = {"matched_sharpness": 0.3}, {"matched_sharpness": 0.8}

    cause = find_cause(measured(used, closed))
    [finding] = cause_findings(facts(measured(used, closed)))

    assert (cause.status, cause.family) == ("named", "codec")
    assert (
        "named right 30.0 points (24.0 to 36.0) more often when that image is of its own class than when it is of another"
        in finding.statement
    )


def test_blunt_edits_beside_a_matched_cue_say_what_may_be_used_and_name_nothing() -> None:
    # As enlarged images gave it: low- and high-pass were alarmed at, fine detail won a part of the gap back, and no exchange was followed.
    used, closed = {"low_pass": 0.2, "high_pass": 0.2}, {"matched_detail": 0.56}

    cause = find_cause(measured(used, closed))
    [finding] = cause_findings(facts(measured(used, closed)))

    assert (cause.status, cause.family) == ("several", None)
    assert "seems to rely on local texture, but no exchange that carries it over is surely followed" in finding.statement


def test_a_named_cue_that_closes_little_of_the_gap_is_told_as_a_part_with_hints_at_the_rest() -> None:
    # As CIFAKE gave it: colours are followed and win back a fifth, and blunt edits speak for texture.
    used, closed = {"matched_palette": 0.14, "grey_patch_shuffle_4": 0.13}, {"matched_chroma": 0.18, "matched_detail": 0.15}
    part, whole = (measured(used, {**closed, "matched_chroma": share}) for share in (0.18, 0.8))

    said = statement.state(facts(part)).statement
    assert "A part of what it relies on is colour, brightness or contrast" in said
    assert said.endswith("The larger part is not settled; there are hints of local texture.")
    assert "The larger part is not settled" in cause_findings(facts(part))[0].statement
    assert "What it relies on is colour" in statement.state(facts(whole)).statement


@pytest.mark.parametrize("exchange", ["swapped_amplitude", "matched_amplitude"])
def test_an_exchange_of_several_kinds_at_once_that_alone_is_followed_names_nothing(exchange: str) -> None:
    cause = find_cause(measured({exchange: 0.3, "blur": 0.2}))

    assert (cause.status, cause.family) == ("unnamed", None)


@pytest.mark.parametrize("edit", ["patch_shuffle_4", "hue", "sharpen", "border_only"])
def test_an_edit_that_only_takes_away_or_isolates_shows_no_cue(edit: str) -> None:
    # A pattern that was there and told nothing did this: sharpening did more damage where it was.
    assert find_cause(measured({edit: 0.3})).status == "none"


def test_a_cue_that_is_used_without_a_gap_is_no_cause_of_one() -> None:
    cause = find_cause(measured({"swapped_peaks": 0.5}))
    [finding] = cause_findings(facts(measured({"swapped_peaks": 0.5})))

    assert (cause.status, cause.family) == ("used", "frequency")
    assert finding.verdict == "warn"
    assert finding.recommendation == ""
    assert "not shown" in finding.statement


def test_without_interventions_nothing_is_said() -> None:
    bare = replace(measured(), scores={})

    assert find_cause(bare).status == "untested"
    assert cause_findings(facts(bare)) == []
    assert cause_sentence(bare) == ""


@pytest.mark.parametrize(
    ("scores", "half", "words"),
    [
        (
            ({"swapped_channel_statistics": 0.5, "swapped_detail": 0.47}, {"matched_chroma": 0.5, "matched_detail": 0.5}),
            None,
            "not settled: something in",
        ),
        (({"swapped_peaks": 0.5},), None, "It reads the class from repeating patterns, but"),
        (({"swapped_amplitude": 0.3},), None, "by no single kind of cue that was exchanged"),
        ((), 0.06, "none of the kinds of cue that were tried"),
        ((), 0.30, "it takes more held-out images"),
    ],
)
def test_the_verdict_says_where_no_cue_is_proved(scores: tuple, half: float | None, words: str) -> None:
    failing = measured(*scores) if half is None else measured(*scores, half=half)

    assert words in statement.state(facts(failing)).statement


def test_a_significant_edit_of_several_seeds_has_to_hold_in_its_interval_over_seeds() -> None:
    one = measured({"swapped_peaks": 0.5})
    shaky = dict(one.scores)
    shaky["interventions/adjusted_p/swapped_peaks"] = Estimate(value=0.03, low=0.0, high=0.4, n=3, over="seeds and images")

    assert find_cause(replace(one, scores=shaky)).family is None


def test_the_finding_tells_the_proof_the_remedy_and_what_is_ruled_out() -> None:
    [finding] = cause_findings(facts(measured(*WHOLE["colour"])))

    assert finding.verdict == "fail"
    assert "reads the class from colour" in finding.statement
    assert "70.0 points" in finding.statement
    assert "80 % (74 to 86)" in finding.statement
    assert finding.recommendation.startswith("Vary colours in training")
    status = {item.name: item.status for item in finding.alternatives}
    assert status["border or background as the cue of image-text"] == "ruled out"
    assert status["local texture as the cue of image-text"] == "ruled out"
    assert "colour as the cue of image-text" not in status


def test_a_rival_within_the_error_is_not_ruled_out() -> None:
    used = {"swapped_channel_statistics": 0.5, "swapped_border": 0.5}

    [finding] = cause_findings(facts(measured(used, {"matched_chroma": 0.8, "centre_only": 0.1}, half=0.09)))

    [border] = [item for item in finding.alternatives if item.name.startswith("border")]
    assert border.status == "ruled out"
    assert "in the centre as well" in border.because


def test_the_verdict_names_the_cue_of_a_failing_loss_and_of_no_other() -> None:
    failing = facts(measured(*WHOLE["texture"]))
    fine = replace(measured(*WHOLE["texture"]), excess=near(0.0, 0.02), behind_real=near(0.0, 0.02))

    assert "What it relies on is local texture" in statement.state(failing).statement
    assert "What it relies on" not in statement.state(facts(fine)).statement
    assert [item.id for item in findings.findings(failing, statement.state(failing).label) if item.probe == "interventions"] == [  # type: ignore[arg-type]
        "cause/image_text"
    ]


def with_words(base: Measured, **words: tuple[float, float]) -> Measured:
    """Add discovery's words: class_word -> (how much more it is followed, corrected p)."""
    scores = dict(base.scores)
    for name, (used, p) in words.items():
        of, word = name.split("_")
        scores[f"discovery/used/{of}/{word}"] = near(used)
        scores[f"discovery/adjusted_p/used/{of}/{word}"] = Estimate(value=p, low=p, high=p, n=500)
    return replace(base, scores=scores)


def test_words_of_the_named_family_that_are_followed_stand_beside_it_and_no_others() -> None:
    given = with_words(
        measured(*WHOLE["colour"]), two_red=(0.5, 0.001), six_blue=(0.7, 0.001), nine_green=(0.5, 0.4), two_blurry=(0.6, 0.001)
    )

    [finding] = cause_findings(facts(given))

    assert [(item.of, item.word) for item in find_cause(given).words] == [("six", "blue"), ("two", "red")]
    assert "'blue' for six (70.0 points (64.0 to 76.0)), 'red' for two" in finding.statement


def test_words_alone_name_no_cue() -> None:
    cause = find_cause(with_words(measured(), two_red=(0.5, 0.001)))

    assert (cause.status, cause.words) == ("none", ())


def test_every_exchange_has_words_and_every_family_that_can_be_named_a_remedy() -> None:
    assert all(exchange.short.startswith(("the ", "all ")) and exchange.does for exchange in EXCHANGES.values())
    assert {name for name, family in FAMILIES.items() if family.remedy} == {*SUBSTANCES, "border", "mark"}


def test_what_a_student_at_chance_does_not_follow_rules_no_cue_out() -> None:
    seeing = measured(half=0.06)
    blind = replace(seeing, real=near(0.11, 0.03), synthetic=near(0.09, 0.03))

    [passed], [open_one] = (cause_findings(facts(item)) for item in (seeing, blind))

    assert passed.verdict == "pass"
    assert open_one.verdict == "inconclusive"
    assert open_one.statement.endswith("But the student is not surely better than chance (10.0 %) on either domain: this rules no cue out.")

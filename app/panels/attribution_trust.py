"""Whether maps can be believed: faithfulness beside misplaced maps and shuffled weights, and the curves behind it."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.measures import draw
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.stored_maps import NUMBERS, Eyes, method_title
from diagnose.judge.comparison import sign
from diagnose.wording.numbers import format_number
from diagnose.wording.words import joined

BASELINES = {
    "over_random": ("wrong places", "than the same maps in wrong places"),
    "over_randomised_weights": ("shuffled weights", "than maps of the same encoder with shuffled weights"),
}


def believed_sentence(chosen: dict[str, Eyes], titles: dict[str, str], method: str) -> str:
    """Say plainly which maps are informative and which are not, and why not.

    Args:
        chosen: encoder -> its stored maps, of the encoders that are shown.
        titles: encoder -> its name for people.
        method: attribution method, a key of `METHODS`.
    """
    good: dict[str, list[str]] = {}
    bad = []
    for name, eyes in chosen.items():
        encoder = f"**{escape(titles.get(name, name))}**"
        for number, words in NUMBERS.items():
            doubt = eyes.believed(method, number)
            if doubt:
                bad.append(f"- {encoder}, {words}: {escape(doubt)}")
            else:
                good.setdefault(encoder, []).append(words)
    maps = f"maps by {method_title(method)}"
    if not bad:
        return f"All {maps} of {joined(good)} passed both tests of whether they can be believed."
    parts = [f"{encoder} ({' and '.join(words)})" for encoder, words in good.items()]
    text = f"These {maps} passed both tests: {joined(parts)}." if good else "None of these maps passed both tests."
    return f"{text}\n\nNot to be believed, whatever they look like:\n\n" + "\n".join(bad)


def show_trust(view: ReportView, chosen: dict[str, Eyes], titles: dict[str, str], method: str) -> None:
    """Chart how much more faithful the maps are than meaningless ones, and the curves of one encoder.

    Args:
        view: the report, with what pages read from it.
        chosen: encoder -> its stored maps, of the encoders that are shown.
        titles: encoder -> its name for people.
        method: attribution method, a key of `METHODS`.
    """
    st.header("Can they be believed?")
    st.markdown(
        "Cells of the image are covered in the order of the map, or uncovered on an empty image. If the map is right, the number falls "
        "fast and rises fast. The same is done with **the same maps in wrong places** and with **maps of the encoder after its weights "
        "were shuffled**. A map that is not better than both is uninformative, and nothing else is reported of it."
    )
    number = st.segmented_control(
        "Maps of", list(NUMBERS), default="zero_shot", format_func=NUMBERS.__getitem__, key="attribution-trust", bind="query-params"
    )
    number = number or "zero_shot"
    dots, words = trust_dots(view, chosen, titles, method, number)
    if not dots:
        st.markdown(f"No test of {method_title(method)} is stored for these encoders: " + _reasons(chosen, titles, method, number))
        return
    sentence = f"How much more faithful the maps of {NUMBERS[number]} are, in standard deviations of the number; right of 0 is better."
    draw(charts.dot_chart(dots, "more faithful (standard deviations)", guide=0.0, guide_label="no better"), f"{sentence} {words}", "trust")
    with st.expander("The same in words, with intervals and n"):
        st.markdown(words)
    _curves(chosen, titles, method, number)


def _reasons(chosen: dict[str, Eyes], titles: dict[str, str], method: str, number: str) -> str:
    return "; ".join(
        f"{escape(titles.get(name, name))}: {escape(eyes.believed(method, number) or 'informative')}" for name, eyes in chosen.items()
    )


def trust_dots(view: ReportView, chosen: dict[str, Eyes], titles: dict[str, str], method: str, number: str) -> tuple[list[charts.Dot], str]:
    """Make a row for each encoder and baseline, and say the same in words.

    Args:
        view: the report, with what pages read from it.
        chosen: encoder -> its stored maps, of the encoders that are shown.
        titles: encoder -> its name for people.
        method: attribution method, a key of `METHODS`.
        number: what the maps explain, a key of `NUMBERS`.
    """
    colours = view.colours
    losses = {student.name: student.loss or student.name for student in view.report.students}
    dots, lines = [], []
    for name, eyes in chosen.items():
        title = titles.get(name, name)
        count = 2 * eyes.result.counts.get("images/checked_per_domain", 0)
        for baseline, (short, words) in BASELINES.items():
            score = eyes.score(f"{method}/{number}/{baseline}")
            if score is None:
                continue
            colour = colours.get(losses.get(name, ""), charts.TEACHER)
            dots.append(charts.Dot(f"{title}, against {short}", score.value, score.low, score.high, colour, hover=title))
            sure = "more faithful" if sign(score) == "above" else "**not surely** more faithful"
            lines.append(
                f"- **{escape(title)}**: {sure} {words}, by {format_number(score.value)} (95 % interval {format_number(score.low)} to {format_number(score.high)}; "
                f"n = {count or 'unknown'} images)"
            )
    return dots, "\n".join(lines)


def _curves(chosen: dict[str, Eyes], titles: dict[str, str], method: str, number: str) -> None:
    able = [name for name, eyes in chosen.items() if eyes.curve(method, number, "deletion") is not None]
    if not able:
        return
    name = st.selectbox("Curves of", able, format_func=lambda n: titles.get(n, n), key="attribution-curves")
    eyes = chosen[name if name in able else able[0]]
    fractions = [100 * float(x) for x in eyes.result.arrays["curve/fractions"]]
    shades = (
        ("", "the map", "#0072B2"),
        ("/random", "in wrong places", charts.TEACHER),
        ("/randomised_weights", "shuffled weights", "#E69F00"),
    )
    left, right = st.columns(2)
    for column, side, words in ((left, "deletion", "covered"), (right, "insertion", "uncovered")):
        lines = [
            charts.Line(label, fractions, curve.tolist(), colour)
            for suffix, label, colour in shades
            if (curve := eyes.curve(method, number, f"{side}{suffix}")) is not None
        ]
        with column:
            better = "falls faster" if side == "deletion" else "rises faster"
            st.markdown(f"**{words.capitalize()}** in the order of the map: a right map's curve {better}.")
            figure = charts.line_chart(lines, "number (standard deviations)", across=f"% of cells {words}", step=25)
            draw(figure, f"Mean number of {titles.get(name, name)} as cells are {words}, beside two meaningless maps.", f"curve-{side}")

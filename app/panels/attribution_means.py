"""Maps of many images together: mean maps, where the energy lies, which frequencies are used, and by class."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from app import charts
from app.panels.measures import LEGEND_SEEDS, Measure, available, draw, measure_chart, measure_sentence
from app.panels.opened import when_opened
from app.panels.report_view import ReportView
from app.panels.tiles import WIDTH
from app.panels.wording import escape
from app.run_store.overlays import map_alone
from app.run_store.stored_maps import NUMBERS, Eyes
from diagnose.wording.numbers import in_percent

VALUES = {
    "border_energy": ("At the border", "Share of the map within an eighth of the side from the edge; an even map would have 0.44 there."),
    "centre_energy": ("In the middle", "Share of the map in the middle half of both sides; an even map would have 0.25 there."),
    "object_energy": ("On the object", "Share of the map on the object, by masks that were given or discovered."),
    "uses_mean": ("Mean colour", "Share of the answer that comes from the image's mean colour."),
    "uses_low": ("Coarse shapes", "Share of the answer that comes from the lowest quarter of the image's frequencies."),
    "uses_mid": ("Middle detail", "Share of the answer that comes from the frequencies between a quarter and a half."),
    "uses_high": ("Fine detail", "Share of the answer that comes from the highest half of the frequencies: edges, texture, noise."),
    "teacher_agreement": ("Like the teacher", "Rank correlation of student's and teacher's map of one image; 0 is unrelated."),
}


def show_means(view: ReportView, chosen: dict[str, Eyes], eyes_by_encoder: dict[str, Eyes], titles: dict[str, str], method: str) -> None:
    """Show the aggregates of one method.

    Args:
        view: the report, with what pages read from it.
        chosen: encoder -> its stored maps, of the encoders that are shown.
        eyes_by_encoder: encoder -> its stored maps.
        titles: encoder -> its name for people.
        method: attribution method, a key of `METHODS`.
    """
    st.header("Over many pictures")
    number = st.segmented_control(
        "Means of", list(NUMBERS), default="zero_shot", format_func=NUMBERS.__getitem__, key="attribution-means", bind="query-params"
    )
    number = number or "zero_shot"
    _mean_maps(view, eyes_by_encoder, titles, method, number)
    _values(view, method, number)
    _by_class(view, chosen, titles, method, number)


def _mean_maps(view: ReportView, eyes_by_encoder: dict[str, Eyes], titles: dict[str, str], method: str, number: str) -> None:
    labels = {"All classes": None} | {
        view.report.class_names[label]: label
        for label in sorted({int(v) for eyes in eyes_by_encoder.values() for v in eyes.result.arrays.get("mean_map/classes", ())})
        if 0 <= label < len(view.report.class_names)
    }
    label = st.selectbox("Mean maps of", list(labels), key="attribution-mean-class") or "All classes"
    for domain in ("real", "synthetic"):
        with st.container(horizontal=True, gap="small"):
            for title, members in _sides(view, eyes_by_encoder, titles):
                values = mean_over(members, method, number, domain, labels[label])
                if values is None:
                    continue
                doubt = any(eyes.believed(method, number) for eyes in members)
                alt = f"Mean map of {NUMBERS[number]} for {title} over {domain} images"
                caption = f"{escape(title)}, {domain}" + (" (uninformative)" if doubt else "")
                st.image(map_alone(values), width=WIDTH, caption=caption, alt=alt)
    st.caption("Every image counts alike, then every class, then every seed. Orange speaks for it, blue against it; each scaled by itself.")


def _sides(view: ReportView, eyes_by_encoder: dict[str, Eyes], titles: dict[str, str]) -> list[tuple[str, list[Eyes]]]:
    """Return the teacher, and each loss with the seeds that have maps."""
    sides = [("teacher", [eyes_by_encoder[view.report.teacher.name]])] if view.report.teacher.name in eyes_by_encoder else []
    for group in view.groups:
        members = [eyes_by_encoder[name] for name in group.names if name in eyes_by_encoder]
        if members:
            short = titles.get(members[0].name, group.title)
            sides.append((short.rsplit(" s", 1)[0] if len(group.students) > 1 else short, members))
    return sides


def mean_over(members: list[Eyes], method: str, number: str, domain: str, label: int | None) -> np.ndarray | None:
    """Average the mean maps of several seeds, (h, w), or None where none has one of the same size.

    Args:
        members: stored maps of the seeds.
        method: attribution method, a key of `METHODS`.
        number: what the maps explain, a key of `NUMBERS`.
        domain: `real` or `synthetic`.
        label: class index, or None for all classes.
    """
    maps = [values for eyes in members if (values := eyes.mean_map(method, number, domain, label)) is not None]
    same = [values for values in maps if values.shape == maps[0].shape]
    return np.mean(same, axis=0) if same else None


def measures(method: str, number: str) -> list[Measure]:
    """List what can be measured of a method's maps, by the names of its scores.

    Args:
        method: attribution method, a key of `METHODS`.
        number: what the maps explain, a key of `NUMBERS`.
    """
    return [
        Measure(
            label,
            f"{method}/{number}/{name}",
            "rank correlation" if name == "teacher_agreement" else "share of the map",
            meaning,
            domains=True,
        )
        for name, (label, meaning) in VALUES.items()
    ]


def _values(view: ReportView, method: str, number: str) -> None:
    records = view.records("attribution")
    choices = available(measures(method, number), records)
    if not choices:
        st.markdown("Where their energy lies is not reported: no student's maps of this kind passed both tests.")
        return
    labels = [measure.label for measure in choices]
    picked = st.segmented_control("How much", labels, default=labels[0], key="attribution-value", bind="query-params") or labels[0]
    measure = choices[labels.index(picked) if picked in labels else 0]
    words = measure_sentence(view, "attribution", measure)
    st.markdown(measure.meaning)
    draw(
        measure_chart(view, "attribution", measure),
        f"{measure.label}: {words}",
        "means",
    )
    with st.expander("The same in words, with intervals and n"):
        st.markdown(words)
        st.caption(f"{LEGEND_SEEDS} Encoders whose maps are uninformative are left out.")


def _by_class(view: ReportView, chosen: dict[str, Eyes], titles: dict[str, str], method: str, number: str) -> None:
    named = {label: name for name, (label, _) in VALUES.items()}
    able = {name: eyes for name, eyes in chosen.items() if any(eyes.by_class(method, number, value) for value in named.values())}
    if not able:
        return
    when_opened("By class", "attribution-by-class", partial(_shares, view, able, named, titles, method, number))


def _shares(view: ReportView, able: dict[str, Eyes], named: dict[str, str], titles: dict[str, str], method: str, number: str) -> None:
    who = st.selectbox("Encoder", list(able), format_func=lambda n: titles.get(n, n), key="attribution-class-who")
    eyes = able[who if who in able else next(iter(able))]
    labels = [label for label, value in named.items() if eyes.by_class(method, number, value)]
    picked = st.selectbox("Share", labels, key="attribution-class-value") or labels[0]
    shares = eyes.by_class(method, number, named[picked])
    marks = [
        charts.Mark(
            view.report.class_names[label], float(share[side, 0]), charts.NEUTRAL if side else charts.TEACHER, domain, f"{domain} images"
        )
        for label, share in shares.items()
        if 0 <= label < len(view.report.class_names)
        for side, domain in enumerate(("real", "synthetic"))
        if share[side, 2] - share[side, 1] < 1
    ]
    if not marks:
        st.markdown("Too few images of each class were explained for this.")
        return
    widest = max(float(share[side, 2] - share[side, 1]) for share in shares.values() for side in range(2))
    sentence = (
        f"{picked} by class, for {escape(titles.get(who, who))}. Few images of each class were explained: the 95 % intervals are up to "
        f"{in_percent(widest, 0)} points wide, so that only large differences count."
    )
    st.markdown(sentence)
    draw(charts.mark_chart(marks, "share of the map"), sentence, "by-class")

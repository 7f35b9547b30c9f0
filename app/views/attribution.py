"""Page Attribution: from which pixels an encoder takes the class, and the look of a synthetic image, and whether to believe the maps."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.panels.attribution_means import show_means
from app.panels.attribution_trust import believed_sentence, show_trust
from app.panels.choices import choose
from app.panels.notices import failed_probes, missing, view_or_notice
from app.panels.report_view import ReportView
from app.panels.tiles import LEGEND, on_demand, show_tiles, stored_tiles, strength_slider
from app.panels.wording import escape
from app.run_store.maps_on_demand import able
from app.run_store.reports import Run, load_thumbnails
from app.run_store.stored_maps import NUMBERS, Eyes, gallery, load_eyes, method_title, stored_methods
from probes.result import DiagnosticError

A_PAGE = 4
"""Pictures shown at once, each with its maps."""

MOST_UPLOAD = 8
"""MiB of a picture that may be given."""

PARTS = ["Picture by picture", "Can they be believed?", "Over many pictures", "Any other picture"]

EXPLAINED = {"Both": list(NUMBERS), "The class": ["zero_shot"], "Looks synthetic": ["domain"]}


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("What in the picture does it look at?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(
        "An attribution map says which pixels raise or lower one number of an encoder. Two numbers are explained: **the class** (how well "
        "the image fits its own class text) and **how synthetic the image looks** to this encoder. A map tells where a number comes from, "
        "not why; and some maps mean nothing, which is said beside them."
    )
    failed_probes(view, "attribution", run)
    eyes_by_encoder, reason = load_eyes(run, view.report)
    titles = view.short_titles
    methods = stored_methods(eyes_by_encoder.values())
    if not methods:
        missing("Attribution maps are not stored with this report.", run, DiagnosticError(reason) if reason else None)
        _any_picture(run, view)
        return
    method = st.segmented_control(
        "Method", methods, default=methods[0], format_func=method_title, key="attribution-method", bind="query-params"
    )
    method = method or methods[0]
    names = st.multiselect(
        "Encoders", list(eyes_by_encoder), default=default_encoders(view, eyes_by_encoder), format_func=lambda name: titles.get(name, name),
        key="attribution-encoders",
    )  # fmt: skip
    chosen = {name: eyes_by_encoder[name] for name in names}
    if not chosen:
        st.markdown("**Choose at least one encoder.**")
        return
    st.markdown(believed_sentence(chosen, titles, method))
    part = st.segmented_control("Show", PARTS, default=PARTS[0], key="attribution-part", bind="query-params") or PARTS[0]
    if part == PARTS[0]:
        _gallery(run, view, chosen, titles, method)
    elif part == PARTS[1]:
        show_trust(view, chosen, titles, method)
    elif part == PARTS[2]:
        show_means(view, chosen, eyes_by_encoder, titles, method)
    else:
        _any_picture(run, view)


def default_encoders(view: ReportView, eyes_by_encoder: dict[str, Eyes]) -> list[str]:
    """Choose the teacher and the first seed of up to three groups, those trained on synthetic images first.

    Args:
        view: the report, with what pages read from it.
        eyes_by_encoder: encoder -> its stored maps.
    """
    firsts = [next((name for name in group.names if name in eyes_by_encoder), None) for group in view.groups]
    wanted = [name for name in [view.report.teacher.name, *firsts] if name in eyes_by_encoder]
    return wanted[:4] or list(eyes_by_encoder)[:4]


def _gallery(run: Run, view: ReportView, chosen: dict[str, Eyes], titles: dict[str, str], method: str) -> None:
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The pictures under the maps are not stored with this report.", run, error)
        return
    images = [image for image in gallery(chosen) if image[0] in thumbnails.index]
    if not images:
        missing("None of the explained pictures is stored with this report.", run)
        return
    classes = ["All classes", *(name for name in view.report.class_names if any(thumbnails.at[i[0], "class_name"] == name for i in images))]
    with st.container(horizontal=True, gap="medium"):
        what = st.segmented_control("Explained", list(EXPLAINED), default="Both", key="attribution-number", bind="query-params") or "Both"
        where = st.segmented_control("Images", ["All", "Real", "Synthetic"], default="All", key="attribution-domain", bind="query-params")
    left, middle, right = st.columns(3)
    label = choose("Class", classes, "class", place=left)
    with middle:
        strength = strength_slider("attribution-overlay")
    kept = [
        image
        for image in images
        if (where in (None, "All") or image[1] == where.lower())
        and (label == "All classes" or thumbnails.at[image[0], "class_name"] == label)
    ]
    if not kept:
        st.markdown("**No explained picture is of this class and kind.**")
        return
    pages = -(-len(kept) // A_PAGE)
    page = (
        right.select_slider("Pictures", range(1, pages + 1), key=f"attribution-page-{pages}", format_func=lambda p: f"{p} of {pages}")
        if pages > 1
        else 1
    )
    st.caption(LEGEND)
    encoders = [(titles.get(name, name), eyes) for name, eyes in chosen.items()]
    for image, domain, _ in kept[(page - 1) * A_PAGE : page * A_PAGE]:
        row = thumbnails.loc[image]
        st.markdown(f"**{escape(row['class_name'])}**, {domain} image")
        words = f"{domain} image of class {row['class_name']}"
        show_tiles(bytes(row["image"]), stored_tiles(encoders, image, method, EXPLAINED[what]), strength, words)
    st.caption(f"{len(kept)} of {len(images)} explained pictures, drawn at random with the classes in equal parts.")


def _pictures(run: Run) -> pd.DataFrame | None:
    try:
        return load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError):
        return None


def _any_picture(run: Run, view: ReportView) -> None:
    st.header("Any other picture")
    students = {name: title for name, title in view.short_titles.items() if name != view.report.teacher.name}
    names, lacking = able(run, list(students))
    if not names:
        missing(lacking, run)
        return
    thumbnails = _pictures(run)
    way = "Upload one"
    if thumbnails is not None and len(thumbnails):
        ways = ["From this run", "Upload one"]
        way = st.segmented_control("Picture", ways, default=ways[0], key="attribution-way", bind="query-params") or ways[0]
    strength = strength_slider("attribution-strength")
    if way == "From this run" and thumbnails is not None:
        words = {
            name: f"{row.class_name}, {row.domain}: {name}" for name, row in zip(thumbnails.index, thumbnails.itertuples(), strict=True)
        }
        image = st.selectbox("Image", list(thumbnails.index), format_func=words.__getitem__, key="attribution-image")
        if image is not None:
            row = thumbnails.loc[image]
            on_demand(run, view, bytes(row["image"]), int(row["label"]), key="attribution-stored", titles=students, strength=strength)
        return
    upload = st.file_uploader(
        "A picture of your own", type=["png", "jpg", "jpeg", "webp"], max_upload_size=MOST_UPLOAD, key="attribution-upload"
    )
    st.caption(
        f"PNG, JPEG or WebP, at most {MOST_UPLOAD} MiB and 16 megapixels; its middle square is brought to the students' size. It stays on "
        "this machine. Each encoder's map is of the class it takes the picture for."
    )
    if upload is None:
        return
    from diagnose.stored_images.picture import read_picture

    try:
        read_picture(upload.getvalue(), 8)
    except ValueError as error:
        st.error(escape(str(error)))
        return
    on_demand(run, view, upload.getvalue(), None, key="attribution-own", titles=students, strength=strength)

"""Streamlit entry of the dashboard: pick a run, pick a page; both are in the address, so every view can be linked.

Run by `synthgap app`, or with the package installed: `SYNTHGAP_RUNS=runs streamlit run app/dashboard.py`.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from pathlib import Path

import streamlit as st

from app.run_store.reports import Run, find_runs

STATES = {"done": "", "going": " (still going)", "report only": "", "empty": " (nothing trained yet)"}

# Module in `app.views`, with `show(run)` -> its title; imported when first opened, so that the first page is soon there.
# Comments, since Streamlit would print a bare string of this script on the page.
PAGES = {
    "why": "Why",
    "students": "Students",
    "separability": "Separability",
    "drift": "Drift",
    "map": "Map",
    "attribution": "Attribution",
    "cues": "Cues",
    "factors": "Factors",
    "compare": "Compare",
    "run": "Run",
}
STYLE = Path(__file__).with_name("style.css")


def runs_folder() -> Path:
    """Find the runs folder: the argument after `--`, else the variable SYNTHGAP_RUNS, else `runs`."""
    ours = Path(sys.argv[0]).name == Path(__file__).name
    return Path(sys.argv[1] if ours and len(sys.argv) > 1 else os.environ.get("SYNTHGAP_RUNS", "runs"))


def pick_run(runs: list[Run]) -> Run:
    """Let the reader pick a run; the address says which is open."""
    names = [run.name for run in runs]
    asked = st.query_params.get("run")
    if (opened := st.session_state.pop("open_run", None)) in names:
        asked = st.session_state["run"] = opened
    if len(runs) > 1:
        labels = {run.name: f"{run.name}{STATES[run.state]}" for run in runs}
        index = names.index(asked) if asked in names else 0
        asked = st.selectbox("Run", names, index=index, format_func=labels.__getitem__, key="run", label_visibility="collapsed")
    elif asked is not None and asked not in names:
        st.info("The run in the address is not here; this is the one that is.", icon=":material/info:")
    run = runs[names.index(asked)] if asked in names else runs[0]
    if st.query_params.get("run") != run.name:
        st.query_params["run"] = run.name
    return run


def show_page(name: str, run: Run) -> None:
    """Import a page and show it.

    Args:
        name: module in `app.views`.
        run: the run that is open.
    """
    importlib.import_module(f"app.views.{name}").show(run)


def show_first(name: str, root: Path) -> None:
    """Show one of the pages that need no run.

    Args:
        name: `why` or `run`.
        root: the runs folder.
    """
    from app.panels import notices
    from app.views import run

    (run.show_new if name == "run" else notices.no_runs)(root)


def main() -> None:
    """Draw the frame and the page that the address asks for."""
    # The picture is ours: Streamlit fetches an icon that is given by name from a server on the network.
    icon = str(Path(__file__).with_name("icon.png"))
    st.set_page_config(page_title="synthgap", page_icon=icon, layout="centered", initial_sidebar_state="collapsed")
    st.html(STYLE)
    root = runs_folder()
    runs = find_runs(root)
    bar = st.container()
    run = pick_run(runs) if runs else None
    functions = {
        name: partial(show_page, name, run) if run else partial(show_first, name, root) for name in PAGES if run or name in ("why", "run")
    }
    pages = {name: st.Page(show, title=PAGES[name], url_path=name, default=name == "why") for name, show in functions.items()}
    page = st.navigation(list(pages.values()), position="hidden")
    place = {"run": run.name} if run else {}
    if (asked_page := st.query_params.get("page")) in pages:
        rest = {name: st.query_params.get_all(name) for name in st.query_params if name != "page"}
        st.switch_page(pages[asked_page], query_params=rest | place)
    with bar.container(horizontal=True, gap="xxsmall", key="pages"):
        for link in pages.values():
            st.page_link(link, query_params=place)
    page.run()


main()

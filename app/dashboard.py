"""Streamlit entry of the dashboard: pick a run, pick a page; both are in the address, so every view can be linked.

Run by `synthgap app`, or with the package installed: `SYNTHGAP_RUNS=runs streamlit run app/dashboard.py`.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import streamlit as st

from app.reports import Run, find_runs
from app.views import drift, separability, students, why
from app.views.notices import no_runs

STATES = {"done": "", "going": " (still going)", "report only": "", "empty": " (nothing trained yet)"}
PAGES = {
    "why": ("Why", why.show),
    "students": ("Students", students.show),
    "separability": ("Separability", separability.show),
    "drift": ("Drift", drift.show),
}


def runs_folder() -> Path:
    """Find the runs folder: the argument after `--`, else the variable SYNTHGAP_RUNS, else `runs`."""
    ours = Path(sys.argv[0]).name == Path(__file__).name
    return Path(sys.argv[1] if ours and len(sys.argv) > 1 else os.environ.get("SYNTHGAP_RUNS", "runs"))


def pick_run(runs: list[Run]) -> Run:
    """Let the reader pick a run; the address says which is open."""
    names = [run.name for run in runs]
    asked = st.query_params.get("run")
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


def main() -> None:
    """Draw the frame and the page that the address asks for."""
    st.set_page_config(page_title="synthgap", page_icon=":material/compare:", layout="centered", initial_sidebar_state="collapsed")
    root = runs_folder()
    runs = find_runs(root)
    if not runs:
        no_runs(str(root))
        return
    asked_page = st.query_params.get("page")
    bar = st.container()
    run = pick_run(runs)
    pages = {name: st.Page(partial(show, run), title=title, url_path=name, default=name == "why") for name, (title, show) in PAGES.items()}
    page = st.navigation(list(pages.values()), position="hidden")
    if asked_page in pages:
        st.switch_page(pages[asked_page], query_params={"run": run.name})
    with bar.container(horizontal=True, gap="small"):
        for link in pages.values():
            st.page_link(link, query_params={"run": run.name})
    page.run()


main()

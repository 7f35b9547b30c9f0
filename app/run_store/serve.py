"""Streamlit's server, which reads the first page's libraries while it comes up, so that the first visitor does not wait for them.

Run by `synthgap app` as `python -P -m app.run_store.serve run app/dashboard.py ...`: the words are those of `streamlit`.
"""

from __future__ import annotations

import importlib
import threading

from streamlit.web.cli import main

FIRST = ("app.run_store.reports", "app.views.why", "plotly.io")


def read_ahead() -> None:
    """Import what the first page needs."""
    for name in FIRST:
        importlib.import_module(name)


if __name__ == "__main__":
    # Only now, with Streamlit itself read: two threads that import one package together may meet it half-made.
    threading.Thread(target=read_ahead, daemon=True).start()
    main(prog_name="streamlit")

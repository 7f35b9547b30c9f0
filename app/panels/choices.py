"""Let the reader choose one of several things, and keep the choice in the address under a short name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def choose(
    label: str,
    options: Sequence[str],
    key: str,
    *,
    start: str | None = None,
    words: Callable[[str], str] = str,
    buttons: bool = False,
    place: DeltaGenerator | None = None,
) -> str:
    """Put a list (or buttons) on the page and give what is chosen.

    The address holds the option itself, not its words, and nothing while the choice is the usual one. So a link stays short, and holds
    when words change.

    Args:
        label: our own words.
        options: at least one.
        key: name in the address.
        start: the usual choice; the first option where None or not among the options.
        words: what an option is called; outside strings are shown as they are.
        buttons: for few options in words of ours: buttons, whose words are markdown, instead of a list.
        place: container to draw in; the page itself where None.
    """
    usual = str(start if start in options else options[0])
    state = state_key(key)
    if st.session_state.get(state) not in (None, *options):
        del st.session_state[state]  # an option of another run or kind
    preset: dict[str, object] = {}
    if state in st.session_state:
        st.session_state[state] = st.session_state[state] or usual  # buttons can be unpressed; then the usual choice holds
    else:
        asked = str(st.query_params.get(key, usual))
        first = asked if asked in options else usual
        preset = {"default": first} if buttons else {"index": list(options).index(first)}
    container = st if place is None else place
    draw = container.segmented_control if buttons else container.selectbox
    chosen = draw(label, list(options), format_func=words, key=state, **preset) or usual
    if chosen == usual:
        st.query_params.pop(key, None)
    elif st.query_params.get(key) != chosen:
        st.query_params[key] = chosen
    return str(chosen)


def state_key(key: str) -> str:
    """Return the name under which the session keeps a choice."""
    return f"chosen-{key}"

"""Page Run: start a real training and diagnosis, watch it, stop it, go on with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.panels.curves import show_curves
from app.panels.wording import escape
from app.run_store import jobs, new_run
from app.run_store.reports import Run, is_run, load_progress
from distill.errors import DistillError

QUICK = ("transfer", "separability", "drift")
LOOK = "2s"
"""How often a run that goes is looked at."""


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("Train and judge students")
    st.header(f"This run: {escape(run.name)}")
    going = jobs.is_alive(jobs.read_job(run.path))
    st.fragment(_watch, run_every=LOOK if going else None)(run, going)
    _new(run.root)


def show_new(root: Path) -> None:
    """Show the page where there is no run yet."""
    st.title("Train and judge students")
    _new(root, first=True)


def _watch(run: Run, was_going: bool) -> None:
    """Show how far the run is; looked at again every two seconds while it goes."""
    job = jobs.read_job(run.path)
    going = jobs.is_alive(job)
    if going != was_going:
        st.rerun(scope="app")  # the picker and the other pages say so too
    st.markdown(state_words(run, job, going))
    done, total = progress(run)
    if total and not (run.path / "done").is_file():
        st.progress(min(done / total, 1.0), text=f"{done:,} of {total:,} epochs of all students")
    _buttons(run, job, going)
    show_curves(run)
    words = jobs.last_words(run.path)
    if words:
        st.caption(f"The last lines of {jobs.LOG}:")
        st.code("\n".join(words), language=None, wrap_lines=True)


def progress(run: Run) -> tuple[int, int]:
    """Count a run's finished epochs, and all that its configuration asks for; 0 where it cannot be read."""
    try:
        students, epochs = new_run.expected(new_run.read_config(run.path / "config.toml"))
    except (ValueError, AttributeError, TypeError):
        return 0, 0
    return sum(len(rows) for rows in load_progress(run).values()), students * epochs


def state_words(run: Run, job: jobs.Job | None, going: bool) -> str:
    """Say in a sentence or two what happens to a run, or has happened.

    Args:
        run: the run.
        job: the process that works on it, or None.
        going: whether it is alive.
    """
    done, total = progress(run)
    if going and job is not None:
        if job.stopped:
            return "**Stopping.** What is finished is kept; it is ended by force when it has not stopped in twenty seconds."
        what = "It is being diagnosed" if total and done >= total else "It is training" if done else "It is starting"
        return f"**{what}**, since {escape(job.begun[:16].replace('T', ' '))} UTC, in a process of its own (number {job.pid}). You may close this page."
    if jobs.in_use(run.path):
        return (
            "**In use by another process**, which was not started from here: it can be watched here, and be stopped where it was started."
        )
    if (run.path / "done").is_file():
        return "**Finished.** The verdict is on page Why."
    if job is not None and job.stopped:
        return "**Stopped.** Go on where it stopped, or leave it."
    if job is not None:
        return "**It has ended before it was finished.** Its last words stand below; go on with it once the reason is mended."
    return "**Not finished, and nobody works on it.**" if total else "**A report alone**: there is no configuration to train from."


def _buttons(run: Run, job: jobs.Job | None, going: bool) -> None:
    if going:
        stopping = job is not None and job.stopped
        st.button("Stop", icon=":material/stop:", on_click=jobs.stop_soon, args=(run.path,), disabled=stopping, key="stop")
        return
    unfinished = (run.path / "config.toml").is_file() and not (run.path / "done").is_file() and not jobs.in_use(run.path)
    help_text = "Takes up each student at its last finished epoch, then judges them."
    if unfinished and st.button("Go on with it", icon=":material/resume:", key="resume", help=help_text):
        _start(run.path, new_run.command_again(run.path, job.command if job is not None else ()))


def _start(folder: Path, words: list[str]) -> None:
    try:
        jobs.start(folder, words)
    except (RuntimeError, OSError, DistillError) as error:
        st.error(escape(str(error)), icon=":material/error:")
        return
    st.session_state["open_run"] = folder.name
    st.rerun(scope="app")


def _new(root: Path, first: bool = False) -> None:
    st.header("A new run")
    if is_run(root):
        st.info("The server was opened on one run. To start others, open the folder that holds the runs:", icon=":material/info:")
        st.code("synthgap app path/to/runs", language="bash")
        return
    st.markdown(
        f"Trains the students of an experiment and judges them, as `synthgap train` and `synthgap diagnose` do, in the folder {escape(shown(root))}."
    )
    choices = new_run.experiments()
    name = st.selectbox("Experiment to start from", list(choices), key="experiment", help="The pocket needs no data and takes minutes.")
    try:
        config = new_run.read_config(choices[name])
    except ValueError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return
    if config.get("about"):
        with st.expander("What it is about"):
            st.markdown(escape(str(config["about"])))
    with st.form("new-run", border=True):
        wishes = _form(config, name)
        if st.form_submit_button("Start", icon=":material/play_arrow:", type="primary" if first else "secondary"):
            _begin(root, config, wishes)


def shown(root: Path) -> str:
    """Write the runs folder as short as the reader, who knows where the server was started, can do with."""
    return str(root.resolve().relative_to(Path.cwd())) if root.resolve().is_relative_to(Path.cwd()) else str(root)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the reader has filled in; every field is checked when the run is begun.

    Args:
        name: of the run.
        losses: to compare.
        seeds: numbers with commas between them.
        epochs: at least 1.
        teacher: a model.
        folder: of the data.
        train: name of a training set -> its data.
        test: domain -> its data.
        limit: images of each training set, 0 for all.
        at_once: students trained at once.
        all_probes: judge by every probe.
    """

    name: str
    losses: list[str]
    seeds: str
    epochs: int
    teacher: str
    folder: str
    train: dict[str, str]
    test: dict[str, str]
    limit: int
    at_once: int
    all_probes: bool


def _form(config: new_run.Config, base: str) -> Wishes:
    """Ask what is to be changed; every field begins with what the experiment says.

    Args:
        config: the experiment.
        base: its name, which tells the fields of one experiment from those of another.
    """
    name = st.text_input("Name of the run", max_chars=64, placeholder="letters, digits, - _ .", key="new-name")
    names = list(config["students"])
    losses = st.multiselect("Losses to compare", names, default=names, key=f"losses-{base}")
    left, right = st.columns(2)
    seeds = ", ".join(str(seed) for seed in config.get("seeds", [0]))
    seeds = left.text_input("Seeds", seeds, max_chars=200, help="One student a loss, training set and seed.", key=f"seeds-{base}")
    epochs = config.get("training", {}).get("epochs", 10)
    epochs = right.number_input("Epochs", 1, 10_000, int(epochs), key=f"epochs-{base}")
    teacher = st.text_input("Teacher", str(config["teacher"].get("model", "")), max_chars=500, key=f"teacher-{base}")
    with st.expander("Images"):
        folder = st.text_input(
            "Data folder",
            str(config["data"].get("folder", "")),
            max_chars=500,
            help="Put before relative names below.",
            key=f"folder-{base}",
        )
        train, test = (
            {
                part: st.text_input(f"{part}, {words}", str(spec), max_chars=500, key=f"{kind}-{part}-{base}")
                for part, spec in config["data"][kind].items()
            }
            for kind, words in (("train", "to train on"), ("test", "held out"))
        )
        limit = int(config["data"].get("limit", 0))
        limit = st.number_input("At most so many of each training set (0: all)", 0, 10**9, limit, key=f"limit-{base}")
    with st.expander("Effort"):
        at_once = st.number_input("Students trained at once", 1, max(os.cpu_count() or 1, 1), 1, key="at-once")
        all_probes = st.toggle("Judge by every probe, not only by transfer, separability and drift", key="all-probes")
    return Wishes(
        name=name.strip(),
        losses=losses,
        seeds=seeds,
        epochs=int(epochs),
        teacher=teacher,
        folder=folder,
        train=train,
        test=test,
        limit=int(limit),
        at_once=int(at_once),
        all_probes=all_probes,
    )


def _begin(root: Path, config: new_run.Config, wishes: Wishes) -> None:
    """Check what was asked for, write the run folder and start it; what is wrong is said and nothing is written.

    Args:
        root: the runs folder.
        config: the experiment to start from.
        wishes: what is changed in it.
    """
    try:
        changes = new_run.Changes(
            teacher=wishes.teacher,
            folder=wishes.folder,
            train=wishes.train,
            test=wishes.test,
            students=wishes.losses,
            seeds=new_run.read_seeds(wishes.seeds),
            epochs=wishes.epochs,
            limit=wishes.limit or None,
        )
        experiment = new_run.changed(config, changes)
        folder = new_run.new_folder(root, wishes.name)
        new_run.write_config(folder, experiment)
    except (ValueError, OSError, DistillError) as error:
        st.error(escape(str(error)), icon=":material/error:")
        return
    _start(folder, new_run.command(folder, at_once=wishes.at_once, probes=() if wishes.all_probes else QUICK))

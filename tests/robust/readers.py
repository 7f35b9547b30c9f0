"""Every reader of what comes from outside, each as one call on a file, and what it may answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

Reader = Callable[[Path, Path], object]
"""(file, folder to work in) -> anything; raises what our code raises."""


def images(file: Path, folder: Path) -> None:
    """As one image of an image folder."""
    from distill.data.split import load_split

    split = load_split(_image_folder(file, folder), domain="real")
    split.validate()
    split.metadata  # noqa: B018 - read from the heads
    split.pixels(8)


def images_skipped(file: Path, folder: Path) -> int:
    """As one image of a folder whose bad images are left out; gives how many were."""
    from distill.data.split import load_split

    return load_split(_image_folder(file, folder), domain="real", skip_bad=True).skipped


def _image_folder(file: Path, folder: Path) -> Path:
    from bad_images import noise, saved

    root = folder / "images"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        (root / name / "good.png").write_bytes(saved(noise(), "PNG"))
    shutil.copy(file, root / "dog" / f"bad{file.suffix}")
    return root


def source(file: Path, folder: Path) -> None:
    from distill.data.split import load_split

    split = load_split(file, domain="real")
    split.validate()
    split.metadata  # noqa: B018 - as above
    split.fingerprint  # noqa: B018


def metadata(file: Path, folder: Path) -> None:
    """As the table of captions in an image folder."""
    from bad_images import noise, saved

    from distill.data.split import load_split

    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        (folder / "images" / name / "good.png").write_bytes(saved(noise(), "PNG"))
    shutil.copy(file, folder / "images" / f"metadata{file.suffix}")
    load_split(folder / "images", domain="real").captions  # noqa: B018


def config(file: Path, folder: Path) -> None:
    from distill.training.config import read_experiment

    read_experiment(file)


def planted_config(file: Path, folder: Path) -> None:
    from app.commands.planted import read_config

    read_config(file, {})


def contexts(file: Path, folder: Path) -> None:
    from distill.text.contexts import diverse_prompts, read_contexts

    diverse_prompts(["cat", "dog"], read_contexts(file))


def class_names(file: Path, folder: Path) -> None:
    from app.commands.synthesize import read_classes

    read_classes(str(file))


def vocabulary(file: Path, folder: Path) -> None:
    from probes.discovery.vocabulary import read_vocabulary

    read_vocabulary(file)


def class_weights(file: Path, folder: Path) -> None:
    from distill.models.teacher import read_class_weights

    read_class_weights(file)


def weights(file: Path, folder: Path) -> None:
    from distill.models.foreign_weights.files import read_weights

    read_weights(file)


def checkpoint(file: Path, folder: Path) -> None:
    from distill.models.checkpoint import load_student

    load_student(file)


def generator(file: Path, folder: Path) -> None:
    """As the index of a diffusers folder."""
    from distill.generate.pipelines import check_folder

    (folder / "generator").mkdir()
    shutil.copy(file, folder / "generator" / "model_index.json")
    check_folder(folder / "generator")


def table(part: str) -> Reader:
    """As one of the three files of an embedding table."""

    def read(file: Path, folder: Path) -> None:
        from probes.embeddings import EmbeddingTable

        columns = (np.array(["a", "b"]), np.eye(2), np.array([0, 1]), np.array(["real", "synthetic"]))
        where = EmbeddingTable(*columns, "x").save(folder / "table")
        shutil.copy(file, where / part)
        EmbeddingTable.load(where)

    return read


def result(suffix: str) -> Reader:
    """As one of the two files of a probe's result."""

    def read(file: Path, folder: Path) -> None:
        from probes.result import ProbeResult

        ProbeResult("transfer", "s", None, {}, {"a": np.ones(2)}).save(folder / "result")
        shutil.copy(file, folder / f"result{suffix}")
        ProbeResult.load(folder / "result")

    return read


def report(file: Path, folder: Path) -> None:
    from diagnose.report.assemble import read

    read(file)


def run_folder(name: str) -> Reader:
    """As a file of a run that the dashboard opens."""

    def read(file: Path, folder: Path) -> None:
        from app.run_store.reports import Run, load_progress, load_report, load_thumbnails

        folder = folder.resolve()
        shutil.copy(file, folder / name)
        run = Run("run", folder, folder)
        {"report.json": load_report, "thumbnails.parquet": load_thumbnails, "metrics.jsonl": load_progress}[name](run)

    return read


def metrics(file: Path, folder: Path) -> None:
    from distill.training.metrics import read_metrics

    read_metrics(file)


def records(file: Path, folder: Path) -> None:
    from diagnose.planted.plan import read_records

    read_records(file)


READERS: dict[str, Reader] = {
    "images": images,
    "source": source,
    "metadata": metadata,
    "config": config,
    "planted config": planted_config,
    "contexts": contexts,
    "class names": class_names,
    "vocabulary": vocabulary,
    "class weights": class_weights,
    "weights": weights,
    "checkpoint": checkpoint,
    "generator": generator,
    "table.json": table("table.json"),
    "rows.parquet": table("rows.parquet"),
    "embeddings.npy": table("embeddings.npy"),
    "result.json": result(".json"),
    "result.npz": result(".npz"),
    "report": report,
    "dashboard report": run_folder("report.json"),
    "dashboard thumbnails": run_folder("thumbnails.parquet"),
    "dashboard metrics": run_folder("metrics.jsonl"),
    "metrics": metrics,
    "records": records,
}


def refusal(reader: Reader, file: Path, folder: Path) -> str | None:
    """Call a reader; give the one line it refuses the file with, or None where it takes it.

    Raises:
        AssertionError: for anything else than one clear line of ours: another kind of error, several lines, no remedy.
    """
    from app.terminal.errors import is_user_error

    folder.mkdir()
    try:
        reader(file, folder)
    except Exception as error:
        line = str(error)
        fault = None
        if not is_user_error(error):
            fault = "an error that the command line would call a fault of ours"
        elif "\n" in line:
            fault = "more than one line"
        elif " must " not in line and "cannot" not in line and "unknown key" not in line:
            fault = "a line that does not say what must be"
        elif len(line) > 1500:
            fault = f"a line of {len(line)} letters"
        if fault:
            raise AssertionError(f"{fault}: {type(error).__name__}: {line[:500]}") from error
        return line
    finally:
        shutil.rmtree(folder)
    return None

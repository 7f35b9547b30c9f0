"""Four hundred and more files that cannot or must not be used: one clear line from every reader, in bounded time and memory."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import bad_images
import bad_tables
import bad_texts
import bad_weights
import pytest
from readers import READERS, images_skipped, refusal
from spoilt import Make

MOST_MEMORY = 400 * 2**20
"""Bytes that reading one bad file may take beyond what the process had; the bounds of our readers are lowered to fit."""

PROOF = Path("/tmp/synthgap-was-here")

REFUSED: list[tuple[str, dict[str, Make]]] = [
    ("images", bad_images.REFUSED),
    ("source", bad_tables.TARS_REFUSED),
    ("source", bad_tables.PARQUET_REFUSED),
    ("class weights", bad_tables.ARRAYS_REFUSED),
    ("result.npz", bad_tables.ARCHIVES_REFUSED),
    ("checkpoint", bad_weights.STUDENTS_REFUSED),
    ("weights", bad_weights.WEIGHTS_REFUSED),
    ("config", bad_texts.CONFIGS_REFUSED),
    ("contexts", bad_texts.CONTEXTS_REFUSED),
    ("result.json", bad_texts.RESULTS_REFUSED),
    ("report", bad_texts.REPORTS_REFUSED),
    ("dashboard report", bad_texts.REPORTS_REFUSED),
    ("vocabulary", bad_texts.WORDS_REFUSED),
    ("metadata", bad_texts.METADATA_REFUSED),
]
"""Reader -> files that it must refuse."""

SURVIVED: list[tuple[str, dict[str, Make]]] = [
    ("images", bad_images.HARMLESS | bad_images.SPOILT),
    ("source", bad_tables.TARS_HARMLESS | bad_tables.TARS_SPOILT),
    ("source", bad_tables.PARQUET_HARMLESS | bad_tables.PARQUET_SPOILT),
    ("rows.parquet", bad_tables.PARQUET_REFUSED | bad_tables.PARQUET_SPOILT),
    ("dashboard thumbnails", bad_tables.PARQUET_REFUSED | bad_tables.PARQUET_SPOILT),
    ("embeddings.npy", bad_tables.ARRAYS_REFUSED),
    ("class weights", {name: make for name, make in bad_tables.ARRAYS_SPOILT.items() if name.endswith(".npy")}),
    ("result.npz", bad_tables.ARCHIVES_HARMLESS | {name: make for name, make in bad_tables.ARRAYS_SPOILT.items() if name.endswith(".npz")}),
    ("checkpoint", bad_weights.STUDENTS_SPOILT),
    ("weights", bad_weights.WEIGHTS_HARMLESS | bad_weights.WEIGHTS_SPOILT),
    ("config", bad_texts.CONFIGS_SPOILT),
    ("result.json", bad_texts.RESULTS_SPOILT),
    ("report", bad_texts.REPORTS_SPOILT),
    ("dashboard report", bad_texts.REPORTS_SPOILT),
]
"""Reader -> files that it may take or refuse, for some spoilt bits do no harm; it must not do anything else."""

EVERY: dict[str, Make] = {}
for _, group in (*REFUSED, *SURVIVED):
    EVERY |= group


def cases(groups: list[tuple[str, dict[str, Make]]]) -> list[object]:
    return [pytest.param(reader, name, make, id=f"{reader}: {name}") for reader, group in groups for name, make in group.items()]


@pytest.fixture(autouse=True)
def low_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the bounds on memory, so that small bombs will do."""
    import distill.data.readers
    import distill.system.memory_limit
    import probes.result

    for module in (distill.system.memory_limit, distill.data.readers):
        monkeypatch.setattr(module, "room", lambda: 256 * 2**20)
    monkeypatch.setattr(probes.result, "MAX_ARRAY_BYTES", 64 * 2**20)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    PROOF.unlink(missing_ok=True)
    yield
    assert not PROOF.exists()


def highest() -> int:
    """Give the most memory this process had since the last call, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return found


@pytest.fixture
def answer(tmp_path: Path) -> Callable[[str, str, Make], str | None]:
    """Write a bad file and give what a reader says of it."""

    def call(reader: str, name: str, make: Make) -> str | None:
        file = tmp_path / name
        file.write_bytes(make())
        highest()
        before = highest()
        said = refusal(READERS[reader], file, tmp_path / "work")
        assert highest() - before < MOST_MEMORY
        return said

    return call


def test_there_are_at_least_three_hundred_bad_files() -> None:
    kinds = {name.rpartition(".")[2] for name in EVERY}

    assert len(EVERY) >= 300
    assert kinds >= {"png", "jpg", "tif", "tar", "gz", "parquet", "toml", "safetensors", "pt", "npy", "npz", "json"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("reader", "name", "make"), cases(REFUSED))
def test_bad_file_is_refused_in_one_line(reader: str, name: str, make: Make, answer: Callable[..., str | None]) -> None:
    assert answer(reader, name, make) is not None


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("reader", "name", "make"), cases(SURVIVED))
def test_spoilt_file_is_read_or_refused_in_one_line(reader: str, name: str, make: Make, answer: Callable[..., str | None]) -> None:
    answer(reader, name, make)


@pytest.mark.parametrize("name", bad_images.REFUSED)
def test_bad_image_is_skipped_and_counted(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bad_images.REFUSED[name]())

    assert images_skipped(tmp_path / name, tmp_path / "work") == 1


@pytest.fixture(scope="session")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All bad files, written once."""
    folder = tmp_path_factory.mktemp("every")
    found = {name: folder / f"{number}{Path(name).suffix}" for number, name in enumerate(EVERY)}
    for name, path in found.items():
        path.write_bytes(EVERY[name]())
    return found


def falls_over(reader: str, files: dict[str, Path], work: Path) -> dict[str, str]:
    wrong = {}
    for name, file in files.items():
        try:
            refusal(READERS[reader], file, work)
        except AssertionError as error:
            wrong[name] = str(error)
    return wrong


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_falls_over_files_of_other_kinds(reader: str, every: dict[str, Path], tmp_path: Path) -> None:
    """Forty of all; the slow suite takes them all."""
    names = random.Random(reader).sample(list(every), 40)

    assert falls_over(reader, {name: every[name] for name in names}, tmp_path / "work") == {}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_falls_over_any_file(reader: str, every: dict[str, Path], tmp_path: Path) -> None:
    assert falls_over(reader, every, tmp_path / "work") == {}

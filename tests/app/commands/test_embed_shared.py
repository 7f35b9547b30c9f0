"""`synthgap embed` in parts: one process or several, killed or not, the table is the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.commands import embed as embed_command
from app.commands.embed import embed_in_parts
from diagnose.inputs.load import load_subject
from distill.data.columns import as_dataset
from distill.data.split import load_split
from probes.embeddings import EmbeddingTable
from probes.result import DiagnosticError

MODEL = "builtin:small_resnet"


@pytest.fixture
def split(tiny_data):
    return load_split(tiny_data / "test-real.parquet")


@pytest.fixture(scope="module")
def subject():
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return load_subject(MODEL, image_size=16)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(embed_command, "PIECE", 8)


def run(subject, split, out, rank=0, world=1):
    return embed_in_parts(subject, split, out, size=16, batch_size=4, rank=rank, world=world)


def assert_equal(one: Path, other: Path) -> None:
    assert (one / "embeddings.npy").read_bytes() == (other / "embeddings.npy").read_bytes()
    first, second = (pq.read_table(folder / "rows.parquet").to_pandas() for folder in (one, other))
    assert first.equals(second)  # of pandas, to which NaN is NaN


def test_the_table_holds_what_embedding_all_at_once_gives(subject, split, tmp_path):
    from probes.embeddings import embed

    run(subject, split, tmp_path / "table")

    table = EmbeddingTable.load(tmp_path / "table")
    import torch

    columns = {"ids": split.ids.tolist(), "labels": split.labels, "domain": split.domains, "name": "x"}
    whole = embed(subject.encode, [torch.from_numpy(np.array(split.pixels(16)))], **columns)
    np.testing.assert_allclose(table.embeddings, whole.embeddings, atol=1e-5)
    assert table.ids.tolist() == split.ids.tolist()
    assert table.labels.tolist() == split.labels.tolist()
    for name, column in split.metadata.items():
        np.testing.assert_array_equal(table.metadata[name], column)
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize("world", [2, 3, 7])
def test_any_number_of_processes_makes_the_same_bits(subject, split, tmp_path, world):
    run(subject, split, tmp_path / "alone")

    ends = [run(subject, split, tmp_path / "shared", rank, world)[0] for rank in reversed(range(world))]

    assert [end is not None for end in ends] == [False] * (world - 1) + [True]
    assert_equal(tmp_path / "alone", tmp_path / "shared")


def test_a_restart_embeds_only_what_is_missing_also_with_another_number_of_processes(subject, split, tmp_path, monkeypatch):
    run(subject, split, tmp_path / "alone")
    run(subject, split, tmp_path / "again", rank=1, world=3)  # the others were killed
    seen = []
    embedded = embed_command._embed_rows
    monkeypatch.setattr(embed_command, "_embed_rows", lambda s, d, rows, **more: seen.extend(rows) or embedded(s, d, rows, **more))

    for rank in range(2):
        run(subject, split, tmp_path / "again", rank, 2)

    assert sorted(seen) == [*range(10), *range(20, 30)]
    assert_equal(tmp_path / "alone", tmp_path / "again")


def test_parts_of_another_model_are_refused(subject, split, tmp_path):
    run(subject, split, tmp_path / "table", rank=0, world=2)
    other = load_subject(MODEL, image_size=16)

    with pytest.raises(DiagnosticError, match="got those of others; delete it or choose another `out`"):
        run(other, split, tmp_path / "table", rank=1, world=2)


def test_a_bad_image_is_named_and_finished_parts_stay(subject, split, tmp_path):
    table = split.rows.with_format("arrow")[:]
    images = table.column("image").to_pylist()
    images[20]["bytes"] = b"not an image"
    place = table.column_names.index("image")
    rows = as_dataset(table.set_column(place, "image", pa.array(images, table.schema.field("image").type)))
    broken = replace(split, rows=rows, _memo={})

    with pytest.raises(ValueError, match=r"got 1 of 30 that are not: test-real-20 \(unreadable\)"):
        run(subject, broken, tmp_path / "table")

    assert len(list((tmp_path / "table.parts").glob("part-*.npy"))) == 2
    assert not (tmp_path / "table").exists()


def test_two_processes_of_a_launcher_make_the_table_of_one(split, tiny_data, tmp_path):
    script = tmp_path / "net.py"
    script.write_text(
        "import torch\ndef net():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 5))\n"
    )

    def start(rank):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "app.cli", "embed", f"{script}:net", str(tiny_data / "test-real.parquet")]
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / "two"), "--batch-size", "4"], env=environment, stdout=subprocess.PIPE, text=True
        )

    running = [start(rank) for rank in range(2)]
    run(load_subject(f"{script}:net", image_size=16), split, tmp_path / "one")
    said = [process.communicate(timeout=600)[0] for process in running]

    assert [process.returncode for process in running] == [0, 0], said
    assert_equal(tmp_path / "one", tmp_path / "two")


def test_threads_wait_asleep_unless_the_caller_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.commands.embed import _wait_asleep

    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    _wait_asleep()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    _wait_asleep()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    _wait_asleep()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.fixture
def four_threads():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread() -> int:
    import torch

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def passes(encode, images=1000, batch_size=2, size=16):
    return embed_command.passes_at_once(encode, images=images, batch_size=batch_size, size=size)


def test_passes_side_by_side_give_the_bits_of_one_after_another(four_threads, subject, split):
    import torch

    both = embed_command._embed_rows(subject, split, range(len(split)), size=16, batch_size=4, passes=4)
    assert threads_of_a_new_thread() == 4
    torch.set_num_threads(1)
    one = embed_command._embed_rows(subject, split, range(len(split)), size=16, batch_size=4, passes=1)

    assert np.array_equal(both[0], one[0])
    assert all(np.array_equal(both[1][name].astype(str), column.astype(str)) for name, column in one[1].items())


def test_what_may_keep_something_between_calls_runs_one_pass_at_a_time(four_threads, subject):
    import torch

    class Own(torch.nn.Module):
        def forward(self, images):
            return images

    hooked, replaced, plain = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2)) for _ in range(3))
    hooked[1].register_forward_hook(lambda part, given, out: out)
    replaced[1].forward = lambda images: images

    assert passes(plain) == passes(subject.embed) == 4
    assert passes(load_subject("timm:mobilenetv3_small_050", image_size=32).embed) == 4
    assert passes(torch.nn.Sequential(torch.nn.Flatten(), Own())) == 1
    assert passes(lambda images: images.mean(dim=(2, 3))) == 1
    assert passes(torch.nn.Linear(2, 2, device="meta")) == 1
    assert passes(hooked) == passes(replaced) == passes(torch.fx.symbolic_trace(plain)) == 1
    assert passes(torch.jit.trace(plain, torch.zeros(1, 2))) == 1


def test_passes_leave_no_thread_over_and_hold_few_pixels(monkeypatch, subject):
    import torch

    monkeypatch.setattr(embed_command, "PIECE", 4096)
    for threads, most in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (64, 4)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert passes(subject.embed) == most
    assert [passes(subject.embed, images=images, batch_size=10) for images in (1, 10, 11, 40)] == [1, 1, 2, 4]
    assert passes(subject.embed, images=10**6, batch_size=4096) == 1
    assert passes(subject.embed, images=10**6, batch_size=256, size=224) == 2
    assert passes(subject.embed, images=10**6, batch_size=256, size=336) == 1


def test_an_error_in_a_pass_ends_all_of_them_and_gives_the_threads_back(four_threads):
    import torch

    seen = []

    def work(item: int) -> int:
        seen.append(item)
        if item == 3:
            raise ValueError("the third")
        return item * torch.get_num_threads()

    assert list(embed_command._in_order(lambda item: item * torch.get_num_threads(), range(6), 2)) == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="the third"):
        list(embed_command._in_order(work, range(1000), 2))
    assert len(seen) < 12
    assert threads_of_a_new_thread() == 4


def test_weights_drawn_by_lot_are_told_and_refused_where_each_process_would_draw_its_own(tiny_data, tmp_path, monkeypatch, caplog):
    from typer.testing import CliRunner

    from app.cli import app

    data = ["embed", MODEL, str(tiny_data / "test-real.parquet"), "--out"]

    done = CliRunner().invoke(app, [*data, str(tmp_path / "table")])
    assert done.exit_code == 0, done.output
    assert "builtin:small_resnet names no weights, so the model is randomly initialised" in caplog.text

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(app, [*data, str(tmp_path / "shared")])
    assert isinstance(done.exception, ValueError)
    assert "`model` must have weights under a launcher, got builtin:small_resnet" in str(done.exception)


@pytest.mark.parametrize(
    ("spec", "fresh"),
    [("timm:resnet18", True), ("builtin:small_resnet", True), ("open_clip:ViT-B-32", True)]
    + [(spec, False) for spec in ("open_clip:ViT-B-32/openai", "open_clip:local-dir:there", "hf:some/model", "net.py:make", "plugin:own")],
)
def test_a_name_that_gives_no_weights_is_known(spec, fresh):
    from distill.models.student import has_random_weights

    assert has_random_weights(spec) is fresh

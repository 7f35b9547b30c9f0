"""The embedding table and the one forward pass that fills it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from probes.embeddings import EmbeddingTable, embed, key
from probes.result import DiagnosticError


def table_of(embeddings, **changes):
    n = len(embeddings)
    fields = {
        "ids": np.array([f"image-{row}" for row in range(n)]),
        "labels": np.arange(n) % 2,
        "domain": np.array(["real", "synthetic"] * n)[:n],
        "name": "student",
    }
    return EmbeddingTable(embeddings=embeddings, **{**fields, **changes})


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(6, 3)) * 5


def test_embeddings_are_brought_to_length_one(embeddings):
    table = table_of(embeddings)

    assert table.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(table.embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(table.embeddings, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), atol=1e-6)


def test_raw_embeddings_are_kept_on_request_and_unit_still_has_length_one(embeddings):
    table = table_of(embeddings, normalize=False)

    np.testing.assert_array_equal(table.embeddings, embeddings.astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(table.unit(), axis=1), 1, atol=1e-6)


def test_the_caller_s_array_is_not_changed(embeddings):
    raw = embeddings.astype(np.float32)
    before = raw.copy()

    table_of(raw)

    np.testing.assert_array_equal(raw, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array(["a"] * 6)}, r"`ids` must be unique, got 5 repeated, the first \['a'\]"),
        ({"ids": np.array(["a", "b"])}, r"`ids` must have shape \(6,\) like the rows of `embeddings`, got \(2,\)"),
        ({"labels": np.array([0, 1, 0, 1, 0, -1])}, "`labels` must be integers of at least 0, got int64 from -1"),
        ({"labels": np.full(6, 0.5)}, "`labels` must be integers of at least 0, got float64"),
        ({"domain": np.array(["real"] * 5 + ["fake"])}, "`domain` must be 'real' or 'synthetic', got 'fake'; rename the domain"),
        ({"metadata": {"bytes": np.arange(5)}}, r"`metadata\['bytes'\]` must have shape \(6,\)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(embeddings, changes, message):
    with pytest.raises(ValueError, match=message):
        table_of(embeddings, **changes)


def test_a_single_vector_is_refused():
    with pytest.raises(ValueError, match=r"`embeddings` must have shape \(N, D\), got \(3,\)"):
        table_of(np.ones(3))


def test_embeddings_that_are_not_finite_are_refused_with_their_ids(embeddings):
    embeddings[4, 1], embeddings[2, 0] = np.nan, np.inf

    with pytest.raises(ValueError, match=re.escape("must be finite, got NaN or infinity for ['image-2', 'image-4']")):
        table_of(embeddings)


def test_embeddings_without_length_are_refused_with_their_ids(embeddings):
    embeddings[3] = 0

    with pytest.raises(ValueError, match=re.escape("must not be zero, got zeros for ['image-3']")):
        table_of(embeddings)


def test_a_table_survives_saving_and_stays_on_disk(embeddings, tmp_path):
    metadata = {"codec": np.array(["png", "jpeg"] * 3), "bytes": np.arange(6), "quality": np.array([90.0] * 5 + [np.nan])}
    table = table_of(embeddings, metadata=metadata)

    loaded = EmbeddingTable.load(table.save(tmp_path / "deep" / "table"))

    assert isinstance(loaded.embeddings, np.memmap)
    assert loaded.name == table.name
    for column in ("ids", "embeddings", "labels", "domain"):
        np.testing.assert_array_equal(getattr(loaded, column), getattr(table, column))
        assert getattr(loaded, column).dtype == getattr(table, column).dtype
    assert set(loaded.metadata) == set(metadata)
    for name, column in metadata.items():
        np.testing.assert_array_equal(loaded.metadata[name], column)


def test_saving_leaves_nothing_but_the_table(embeddings, tmp_path):
    table_of(embeddings).save(tmp_path / "table")
    table_of(embeddings[::-1]).save(tmp_path / "table", overwrite=True)

    assert [path.name for path in tmp_path.iterdir()] == ["table"]
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == ["embeddings.npy", "rows.parquet", "table.json"]
    np.testing.assert_allclose(EmbeddingTable.load(tmp_path / "table").embeddings, table_of(embeddings[::-1]).embeddings)


def test_a_table_is_not_overwritten_by_accident(embeddings, tmp_path):
    table_of(embeddings).save(tmp_path / "table")

    with pytest.raises(FileExistsError, match="`folder` must not exist"):
        table_of(embeddings).save(tmp_path / "table")


def test_a_failed_save_leaves_nothing(embeddings, tmp_path, monkeypatch):
    monkeypatch.setattr("pyarrow.parquet.write_table", lambda *_: (_ for _ in ()).throw(OSError("disk full")))

    with pytest.raises(DiagnosticError, match="must be writable, got disk full"):
        table_of(embeddings).save(tmp_path / "table")

    assert list(tmp_path.iterdir()) == []


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold a saved embedding table, got .*nowhere"):
        EmbeddingTable.load(tmp_path / "nowhere")


def test_another_schema_version_is_refused(embeddings, tmp_path):
    folder = table_of(embeddings).save(tmp_path / "table")
    about = json.loads((folder / "table.json").read_text())
    (folder / "table.json").write_text(json.dumps({**about, "schema_version": 99}))

    with pytest.raises(DiagnosticError, match="must be 1, got 99; embed the images again"):
        EmbeddingTable.load(folder)


def test_a_truncated_table_is_refused(embeddings, tmp_path):
    folder = table_of(embeddings).save(tmp_path / "table")
    whole = (folder / "embeddings.npy").read_bytes()
    (folder / "embeddings.npy").write_bytes(whole[:-20])

    with pytest.raises(DiagnosticError, match="must be a whole embedding table"):
        EmbeddingTable.load(folder)


def test_the_key_follows_content():
    base = {"weights_hash": "w", "split_fingerprint": "s", "preprocessing": {"size": 32, "mean": [0.5]}, "dtype": "float32"}
    others = [{**base, name: value} for name, value in (("weights_hash", "v"), ("split_fingerprint", "t"), ("dtype", "bfloat16"))]
    others += [{**base, "preprocessing": {"size": 33, "mean": [0.5]}}, {**base, "weights_hash": "ws", "split_fingerprint": ""}]

    assert key(**base) == key(**{**base, "preprocessing": {"mean": [0.5], "size": 32}})
    assert len({key(**each) for each in [base, *others]}) == 6


def test_selecting_rows_keeps_them_together(embeddings):
    table = table_of(embeddings, metadata={"bytes": np.arange(6)})

    part = table.select(table.domain == "synthetic")

    assert part.ids.tolist() == ["image-1", "image-3", "image-5"]
    np.testing.assert_array_equal(part.embeddings, table.embeddings[1::2])
    np.testing.assert_array_equal(part.metadata["bytes"], [1, 3, 5])


class TestEmbed:
    """The forward pass; torch only here."""

    @pytest.fixture
    def images(self):
        import torch

        return torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def model(self):
        """A net with dropout and batch norm, whose output depends on the mode it is in."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(144, 5)]
            return torch.nn.Sequential(*layers)

    def run(self, encode, images, size, **changes):
        columns = {"ids": [f"i{row}" for row in range(10)], "labels": np.arange(10) % 2, "domain": ["real"] * 10, "name": "net"}
        return embed(encode, images.split(size), **{**columns, **changes})

    def test_it_gives_the_encoder_s_normalised_output_in_eval_mode(self, model, images):
        import torch

        table = self.run(model, images, 4)

        with torch.no_grad():
            expected = torch.nn.functional.normalize(model.eval()(images / 255)).numpy()
        np.testing.assert_allclose(table.embeddings, expected, atol=1e-6)

    @pytest.mark.parametrize("size", [1, 3, 10])
    def test_the_batch_size_does_not_matter(self, model, images, size):
        np.testing.assert_allclose(self.run(model, images, size).embeddings, self.run(model, images, 5).embeddings, atol=1e-6)

    def test_float_images_are_taken_as_they_are(self, model, images):
        np.testing.assert_allclose(self.run(model, images.float() / 255, 5).embeddings, self.run(model, images, 5).embeddings, atol=1e-6)

    def test_modes_gradients_and_random_state_are_left_alone(self, model, images):
        import torch

        model.train()
        model[1].eval()
        state = torch.get_rng_state()

        self.run(model, images, 4)

        assert [module.training for module in model] == [True, False, True, True, True]
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert torch.equal(state, torch.get_rng_state())
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()

    def test_modes_are_put_back_after_an_exception(self, model, images):
        import torch

        model.train()

        with pytest.raises(RuntimeError):
            self.run(model, images[:, :2], 4)

        assert model.training
        assert all(module.training for module in model)
        assert not torch.is_inference_mode_enabled()

    def test_a_bound_method_is_put_into_eval_mode_too(self, model, images):
        model.train()

        table = self.run(model.forward, images, 4)

        assert model.training
        np.testing.assert_allclose(table.embeddings, self.run(model, images, 4).embeddings, atol=1e-6)

    def test_embeddings_that_are_not_finite_are_named(self, images):
        def encode(batch):
            flat = batch.flatten(1)[:, :5] + 1
            flat[batch[:, 0, 0, 0] == images[6, 0, 0, 0] / 255] = float("nan")
            return flat

        with pytest.raises(ValueError, match=re.escape("`embeddings of net` must be finite, got NaN or infinity for ['i6']")):
            self.run(encode, images, 4)

    def test_embeddings_without_length_are_named(self, images):
        with pytest.raises(ValueError, match=re.escape("`embeddings of net` must not be zero, got zeros for ['i0', 'i1', 'i2']")):
            self.run(lambda batch: batch.flatten(1)[:, :5] * 0, images, 4)

    @pytest.mark.parametrize(
        ("count", "message"), [(11, "must hold 11 images like `ids`, got 10"), (7, "must hold 7 images .* got 8 or more")]
    )
    def test_batches_of_another_number_of_images_are_refused(self, model, images, count, message):
        with pytest.raises(ValueError, match=message):
            self.run(model, images, 4, ids=[f"i{row}" for row in range(count)], labels=np.zeros(count, int), domain=["real"] * count)

    def test_token_outputs_are_refused(self, images):
        with pytest.raises(ValueError, match=r"`encode` must return shape \(4, D\), got \(4, 3, 64\); pool the tokens"):
            self.run(lambda batch: batch.flatten(2), images, 4)

    def test_progress_is_told_after_each_batch(self, model, images):
        seen = []

        self.run(model, images, 4, progress=lambda done, total: seen.append((done, total)))

        assert seen == [(4, 10), (8, 10), (10, 10)]

"""TCAV: a planted colour is significant with the right sign, a random concept is not, and captum's scores are those of a direct count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from probes.attribution.concepts import ConceptScore, edited_concept, judge_concept, read_concept, tcav
from probes.embeddings import embed
from probes.probe_input import ProbeInput

SIDE, COUNT = 16, 240


class ByColour(nn.Module):
    """The first class rises with red over green and falls with green over red, place by place; texture changes neither."""

    def __init__(self, *, colour: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mix = nn.Conv2d(3, 8, 4, 4)
        self.deep = nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
            if colour:
                self.mix.weight[:2] = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1) / 8
                self.mix.weight[4:6] = torch.tensor([-1.0, 1.0, 0.0]).view(1, 3, 1, 1) / 8
                self.deep.weight[:2] = torch.tensor([1.0, 1, 0, 0, -1, -1, 0, 0]).view(1, 8, 1, 1) / 2
                self.head.weight[:] = 0.0
                self.head.weight[0, :2] = 1.0
                self.head.bias[:] = torch.tensor([0.0, 1.0, 1.0, 1.0])

    def forward(self, images):
        return self.head(self.deep(torch.nn.functional.gelu(self.mix(images))).mean(dim=(2, 3)))


def _noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 215, (count, 3, SIDE, SIDE)).astype(np.uint8)


def _tinted(count: int, channel: int, seed: int) -> np.ndarray:
    pixels = _noise(count, seed).astype(np.int64)
    pixels[:, channel] += 60
    return pixels.clip(0, 255).astype(np.uint8)


def _input(encode: nn.Module) -> ProbeInput:
    pixels = _noise(COUNT, 1).astype(np.int64)
    pixels += np.random.default_rng(5).integers(-30, 30, (COUNT, 3, 1, 1))  # images differ in colour, as photographs do
    pixels = pixels.clip(0, 255).astype(np.uint8)
    half = ["real" if row % 2 else "synthetic" for row in range(COUNT)]
    ids, labels = [f"i{row}" for row in range(COUNT)], [row // 2 % 2 for row in range(COUNT)]
    table = embed(encode, [torch.from_numpy(pixels)], ids=ids, labels=labels, domain=half, name="s")
    return ProbeInput(table, [pixels], encode, ("red", "other"))


WEIGHTS = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])


def test_a_colour_that_decides_is_significant_with_its_sign_and_texture_is_not() -> None:
    probe_input = _input(ByColour().eval())
    rows = np.flatnonzero(probe_input.table.labels == 0)[:30]
    smooth = edited_concept(probe_input.raw(np.arange(100, 130)), "low_pass")

    scores = tcav(probe_input, rows, {"red": _tinted(30, 0, 2), "green": _tinted(30, 1, 3), "smooth": smooth}, class_weights=WEIGHTS)

    assert scores["red"].score.value > 0.9
    assert scores["red"].sensitivity.low > 0
    assert scores["red"].p < 0.05
    assert scores["red"].p_runs < 0.05
    assert scores["green"].score.value < 0.1
    assert scores["green"].sensitivity.high < 0
    assert scores["smooth"].p > 0.05


def test_a_random_concept_is_seldom_significant() -> None:
    """Null: 16 random concepts. The test holds 5 %, so that more than 4 of 16 come once in 1,000 (binomial); the encoder is arbitrary."""
    probe_input = _input(ByColour(colour=False).eval())
    rows = np.arange(20)
    rng = np.random.default_rng(3)
    concepts = {f"r{number}": probe_input.raw(np.sort(rng.choice(np.arange(20, COUNT), 20, replace=False))) for number in range(16)}

    scores = tcav(probe_input, rows, concepts, class_weights=WEIGHTS, random_sets=6)

    assert sum(score.p < 0.05 for score in scores.values()) <= 4
    for score in scores.values():
        assert (score.p < 0.05) == (not score.sensitivity.low <= 0 <= score.sensitivity.high)
        assert len(score.random) == 6


def test_the_judgement_of_scores_by_hand() -> None:
    """Sets of strengths u_a with score 1/2 + u_a - u_b: what the tests take, in closed form."""
    strengths = np.array([0.3, 0.02, -0.02, 0.04, -0.04])
    wins = 0.5 + strengths[:, None] - strengths[None]
    np.fill_diagonal(wins, np.nan)

    judged = judge_concept(wins, 10 * (wins - 0.5))

    spread = strengths[1:].std(ddof=1) * np.sqrt(1 + 1 / 4)
    from scipy import stats

    assert isinstance(judged, ConceptScore)
    assert judged.score.value == pytest.approx(0.8)
    assert judged.sensitivity.value == pytest.approx(3)
    assert judged.sensitivity.low == pytest.approx(3 - 10 * spread * stats.t.ppf(0.975, 3))
    assert judged.p == pytest.approx(2 * stats.t.sf(0.3 / spread, 3))
    assert judged.score.low == pytest.approx(0.8 - spread * stats.t.ppf(0.975, 3))
    np.testing.assert_allclose(judged.random, 0.5 + strengths[1:] * 4 / 3)


def test_the_test_holds_its_level_and_the_papers_does_not() -> None:
    """Exchangeable sets, 2,000 draws: 5 % within 0.05 +- 0.015 (three standard errors); the paper's test exceeds 20 %."""
    rng = np.random.default_rng(0)
    ours, papers = 0, 0
    for _ in range(2000):
        strengths = rng.normal(0, 0.05, 13)
        noise = np.triu(rng.normal(0, 0.02, (13, 13)), 1)
        wins = 0.5 + strengths[:, None] - strengths[None] + noise - noise.T
        np.fill_diagonal(wins, np.nan)
        judged = judge_concept(wins, wins - 0.5)
        ours += judged.p < 0.05
        papers += judged.p_runs < 0.05

    assert ours / 2000 == pytest.approx(0.05, abs=0.015)
    assert papers / 2000 > 0.2


def test_the_encoder_the_random_state_and_the_working_directory_stay_as_they_were(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    encode = ByColour().train()
    probe_input = _input(encode)
    weights, state = {key: value.clone() for key, value in encode.state_dict().items()}, torch.get_rng_state()
    encode.train()

    once, again = (tcav(probe_input, np.arange(10), {"red": _tinted(10, 0, 2)}, of="domain", random_sets=3) for _ in range(2))

    assert once["red"].score == again["red"].score
    assert encode.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, weights[key]) for key, value in encode.state_dict().items())
    assert not any(module._forward_hooks for module in encode.modules())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_pictures_is_a_concept(tmp_path) -> None:
    for number in range(8):
        Image.new("RGB", (20 + number, 12), (200, number, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")

    concept = read_concept(tmp_path, (16, 16))

    assert concept.shape == (8, 3, 16, 16)
    assert concept.dtype == np.uint8
    assert (concept[:, 0] == 200).all()
    with pytest.raises(FileNotFoundError, match="`folder` must be a folder that exists"):
        read_concept(tmp_path / "none", (16, 16))
    (tmp_path / "0.png").unlink()
    with pytest.raises(ValueError, match="`folder` must hold at least 8 pictures, got 7"):
        read_concept(tmp_path, (16, 16))


def test_an_edit_is_a_concept() -> None:
    grey = edited_concept(_noise(8, 0), "grey")

    assert grey.dtype == np.uint8
    assert (grey[:, 0] == grey[:, 2]).all()
    with pytest.raises(ValueError, match=r"`edit` must be one of .*got 'matched_border'; choose one that needs no partner"):
        edited_concept(_noise(8, 0), "matched_border")


def test_what_cannot_be_is_refused() -> None:
    probe_input = _input(ByColour().eval())
    red = _tinted(10, 0, 2)

    with pytest.raises(ValueError, match="`concepts` must name at least one"):
        tcav(probe_input, np.arange(4), {}, class_weights=WEIGHTS)
    with pytest.raises(ValueError, match=r"uint8 of shape \(n, 3, 16, 16\).*got uint8 \(10, 3, 16, 8\) for 'red'"):
        tcav(probe_input, np.arange(4), {"red": red[..., :8]}, class_weights=WEIGHTS)
    with pytest.raises(ValueError, match="`rows` must leave at least 16 images"):
        tcav(probe_input, np.arange(COUNT), {"red": red}, class_weights=WEIGHTS)
    with pytest.raises(ValueError, match="`random_sets` must be at least 3"):
        tcav(probe_input, np.arange(4), {"red": red}, class_weights=WEIGHTS, random_sets=2)
    bare = ProbeInput(probe_input.table, probe_input.pixels, lambda images: probe_input.encode(images), ("red", "other"))
    with pytest.raises(ValueError, match=r"cannot be explained by concepts: the encoder must be a torch.nn.Module"):
        tcav(bare, np.arange(4), {"red": red}, class_weights=WEIGHTS)

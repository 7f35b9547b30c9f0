"""Contexts from a language model: answers of any layout are read, doubles are not counted, and nobody is asked twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.generate import language_model
from distill.generate.language_model import DIMENSIONS, TRIES, ask_contexts, ask_once, load_model, parse_options


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (
            "Sure! Here are three:\n1. In a garden\n2. **On a beach**: with much sand\n3. At the vet's.\n\nAnything else?",
            ["in a garden", "on a beach", "at the vet's"],
        ),
        ("- at dawn\n* at noon\n• at night", ["at dawn", "at noon", "at night"]),
        ('Here you go: ["close up", "from above", "close up"]', ["close up", "from above"]),
        ("Locations: in a park, on a roof, and under a tree", ["in a park", "on a roof", "under a tree"]),
        ("(1) Bird's-eye view - from the sky\n(2) Close-up", ["bird's-eye view", "close-up"]),
        ("in a park\non a roof\n", ["in a park", "on a roof"]),
        ("1. " + "word " * 12 + "\n2. short", ["short"]),
        ("a) red\nb) green", ["red", "green"]),
        ("I cannot do that!", []),
        ("", []),
    ],
)
def test_answers_are_read_whatever_their_layout(answer: str, options: list[str]) -> None:
    assert parse_options(answer) == options


def test_options_are_collected_over_several_answers_without_doubles() -> None:
    asked: list[tuple[str, int]] = []

    def ask(question: str, seed: int) -> str:
        asked.append((question, seed))
        return "\n".join(f"{row + 1}. option {'abcdefgh'[(len(asked) - 1) % 4 + row]}" for row in range(3))

    contexts = ask_contexts(["beagle"], ask, superclass="pet", options=5, seed=7)

    assert contexts.of("beagle")["location"] == ["option a", "option b", "option c", "option d", "option e"]
    assert set(contexts.of("beagle")) == set(DIMENSIONS)
    assert "beagle, which is a pet" in asked[0][0]
    assert "Do not repeat: option a, option b, option c" in asked[1][0]
    assert [seed for _, seed in asked[:3]] == [7, 8, 9]


def test_a_model_that_gives_too_few_options_is_named_with_what_it_was_asked() -> None:
    calls: list[int] = []

    def ask(question: str, seed: int) -> str:
        calls.append(seed)
        return "1. in a garden"

    with pytest.raises(DistillError, match=r"must give 5 options for location of 'beagle', got 1 in 12 answers; ask for fewer"):
        ask_contexts(["beagle"], ask)
    assert len(calls) == TRIES


def test_the_answers_are_kept_and_nobody_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        language_model, "load_model", lambda *_, **__: lambda question, seed: "\n".join(f"- {word}" for word in ("on", "at", "by"))
    )
    first = ask_once(["cat"], "model", tmp_path, options=3)
    monkeypatch.setattr(language_model, "load_model", lambda *_, **__: pytest.fail("asked again"))

    assert ask_once(["cat"], "model", tmp_path, options=3) == first
    assert first.of("cat")["time"] == ["on", "at", "by"]


def test_a_model_of_transformers_answers_the_same_for_the_same_seed(tmp_path: Path) -> None:
    import torch
    from transformers import CLIPTokenizer, GPT2Config, GPT2LMHeadModel

    from distill.packs.pocket import pipeline_folder

    tokenizer = CLIPTokenizer.from_pretrained(pipeline_folder() / "tokenizer")
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 512, "vocab_size": len(tokenizer)}
    ends = {"bos_token_id": len(tokenizer) - 2, "eos_token_id": len(tokenizer) - 1}
    GPT2LMHeadModel(GPT2Config(**sizes, **ends)).save_pretrained(tmp_path)
    ask = load_model(str(tmp_path))
    before = torch.get_rng_state()

    answers = [ask("list", seed) for seed in (1, 1, 2)]

    assert answers[0] == answers[1] != answers[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_is_not_here_is_refused() -> None:
    with pytest.raises(DistillError, match=r"`llm` nobody/none must be a causal language model in safetensors on this machine"):
        load_model("nobody/none")

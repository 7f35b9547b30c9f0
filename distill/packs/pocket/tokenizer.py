"""Build the pocket's tokenizer: CLIP's own kind (lower-case byte-pair encoding), with merges for the pocket's words only.

CLIP's vocabulary of 49,408 entries would make the text tower larger than the whole pack. Any other text still encodes, letter by letter.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from distill.packs.pocket.captions import vocabulary_corpus

CONTEXT_LENGTH = 16


def save_tokenizer(folder: Path) -> int:
    """Write the tokenizer's files into a folder and give the size of its vocabulary; the end token has the highest id."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=2000, min_frequency=1, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(vocabulary_corpus(), trainer)
    model = _merges(learner)
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in model]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=model, model_max_length=CONTEXT_LENGTH)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def _merges(learner: Tokenizer) -> list[tuple[str, str]]:
    import json

    merges = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]

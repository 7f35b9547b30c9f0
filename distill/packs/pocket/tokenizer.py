"""Build the pocket's tokenizer: CLIP's own kind (lower-case byte-pair encoding), with merges for the pocket's words only.

CLIP's vocabulary of 49,408 entries would make the text tower larger than the whole pack. Any other text still encodes, letter by letter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from distill.packs.pocket.captions import vocabulary_corpus

CONTEXT_LENGTH = 16


def save_tokenizer(folder: Path) -> int:
    """Write the tokenizer's files into a folder and return the size of its vocabulary; the end token has the highest id."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    bytes_of_words = [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    learner.pre_tokenizer = pre_tokenizers.Sequence(bytes_of_words)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    settings: dict[str, Any] = {"vocab_size": 2000, "min_frequency": 1, "initial_alphabet": letters, "end_of_word_suffix": "</w>"}
    learner.train_from_iterator(vocabulary_corpus(), trainers.BpeTrainer(show_progress=False, **settings))
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT_LENGTH)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)

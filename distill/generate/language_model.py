"""Ask a language model for contexts, and parse its answers in any common list format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from distill.errors import DistillError
from distill.system.atomic_files import write_then_rename
from distill.text.contexts import Contexts, read_contexts

DIMENSIONS = {
    "location": "places where one could take a photo of {a}",
    "time": "times of day or kinds of weather and light for a photo of {a}",
    "angle": "camera angles or distances for a photo of {a}",
    "appearance": "ways {a} may look or be posed, served or coloured",
}
"""Dimension -> what is asked for; {a} stands for the class. Popp et al. (2024) use such four, the last one by domain."""

TRIES = 12
"""Answers asked for a dimension of a class before we give up."""

Ask = Callable[[str, int], str]
"""A question and a seed -> an answer."""

_MARK = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.):]|\(?[a-z][.)])\s+", re.IGNORECASE)


def parse_options(answer: str) -> list[str]:
    r"""Read a list of short options from an answer: a JSON list, numbered or bulleted lines, plain lines, or one line with commas.

    Returns:
        Distinct options without numbers, quotes, bold marks, explanations after a colon, and final stops; introductions, questions and
        anything longer than eight words are left out.

    Example:
        >>> parse_options("Sure! Here are two:\n1. **On a beach**: sandy.\n2) 'in a garden'")
        ['on a beach', 'in a garden']
    """
    phrases = _json_list(answer)
    if phrases is None:
        lines = [line for line in answer.splitlines() if line.strip()]
        marked = [line for line in lines if _MARK.match(line)]
        if marked:
            phrases = [_MARK.sub("", line) for line in marked]
        elif len(lines) <= 2 and lines and lines[-1].count(",") >= 2:
            phrases = re.split(r",| and ", lines[-1].rpartition(":")[2])
        else:
            phrases = [line for line in lines if not line.rstrip().endswith((":", "?", "!"))]
    options: list[str] = []
    for text in phrases:
        option = _tidy(text)
        if option and len(option.split()) <= 8 and any(sign.isalpha() for sign in option) and option not in options:
            options.append(option)
    return options


def _json_list(answer: str) -> list[str] | None:
    match = re.search(r"\[.*?\]", answer, re.DOTALL)
    if match is None:
        return None
    try:
        values = json.loads(match.group(0))
    except json.JSONDecodeError:
        return None
    return [value for value in values if isinstance(value, str)] or None


def _tidy(text: str) -> str:
    text = text.replace("*", "").replace("_", " ").replace("`", "")
    text = re.split(r":\s|\s[-–—]\s|\.\s", text.strip(), maxsplit=1)[0]
    text = " ".join(text.strip(" \"'“”‘’.,;:()[]").split())
    return text[:1].lower() + text[1:] if text[1:2].islower() or len(text.split()) > 1 else text


def ask_contexts(class_names: Sequence[str], ask: Ask, *, superclass: str = "", options: int = 5, seed: int = 0) -> Contexts:
    """Collect options for every dimension of every class.

    Args:
        class_names: C names.
        ask: question, seed -> answer.
        superclass: what the classes are, such as `pet`; part of the question.
        options: how many for each dimension.
        seed: of the first answer; each further one has the next.

    Raises:
        DistillError: naming the class and dimension for which `TRIES` answers gave too few options.
    """
    options_of_classes: dict[str, dict[str, list[str]]] = {}
    for name in class_names:
        words = f"a {name.replace('_', ' ')}" + (f", which is a {superclass}" if superclass else "")
        for dimension, wish in DIMENSIONS.items():
            options_of_classes.setdefault(name, {})[dimension] = _collect(ask, words, name, dimension, wish, options, seed)
    return Contexts(superclass=superclass, classes=options_of_classes)


def _collect(ask: Ask, words: str, name: str, dimension: str, wish: str, options: int, seed: int) -> list[str]:
    collected: dict[str, str] = {}
    for number in range(TRIES):
        question = f"List {min(5, options)} different {wish.format(a=words)}. Answer with a numbered list of short phrases, nothing else."
        if collected:
            question += f" Do not repeat: {', '.join(list(collected.values())[-10:])}."
        for option in parse_options(ask(question, seed + number)):
            collected.setdefault(option.lower(), option)
        if len(collected) >= options:
            return list(collected.values())[:options]
    raise DistillError(
        f"the language model must give {options} options for {dimension} of {name!r}, got {len(collected)} in {TRIES} answers; "
        "ask for fewer, take an instruction-tuned model, or write the contexts into a file."
    )


def ask_once(
    class_names: Sequence[str],
    model: str,
    out: Path,
    *,
    superclass: str = "",
    options: int = 5,
    seed: int = 0,
    allow_download: bool = False,
) -> Contexts:
    """Ask a model for contexts and write them to `out/contexts.json`; where that file exists, read it instead.

    Args:
        class_names: C names.
        model: folder or hub id of a causal language model.
        out: folder of the set.
        superclass: what the classes are, such as `pet`.
        options: number for each dimension.
        seed: of the answers.
        allow_download: whether the hub may be asked.

    Raises:
        DistillError: as `load_model` and `ask_contexts`.
    """
    path = out / "contexts.json"
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".contexts.lock"):  # of several processes one asks
        if not path.is_file():
            ask = load_model(model, allow_download=allow_download)
            contexts = ask_contexts(class_names, ask, superclass=superclass, options=options, seed=seed)
            write_then_rename(path, lambda file: file.write(contexts.model_dump_json(indent=1).encode()))
    return read_contexts(path)


def load_model(model: str, *, allow_download: bool = False) -> Ask:
    """Load a causal language model of transformers, from a folder or the hub.

    Args:
        model: folder or hub id.
        allow_download: whether the hub may be asked.

    Returns:
        A function from question and seed to an answer.

    Sampling is that of Popp et al.'s code: temperature 0.7, the 50 likeliest tokens, 95 % of the mass.

    Raises:
        DistillError: for a model that is not on this machine, or cannot be loaded from safetensors.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, object] = {"local_files_only": not allow_download, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **options)
        network = AutoModelForCausalLM.from_pretrained(model, use_safetensors=True, **options).eval()
    except Exception as error:  # transformers and the hub raise many kinds
        line = " ".join(str(error).split())[:200]
        raise DistillError(
            f"`llm` {model} must be a causal language model in safetensors on this machine, got {type(error).__name__}: {line}; "
            "give its folder, or add --allow-download."
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)

    def ask(question: str, seed: int) -> str:
        text = question
        if getattr(tokenizer, "chat_template", None):
            text = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
        tokens = tokenizer(text, return_tensors="pt").to(device)
        sampling: dict[str, object] = {"do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 0.95, "max_new_tokens": 200}
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            end = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
            output = network.generate(**tokens, **sampling, pad_token_id=end)
        return str(tokenizer.decode(output[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True))

    return ask

"""List the images of a set, each with its prompt, its seed and its file name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.text.contexts import Prompt


@dataclass(frozen=True)
class Request:
    """One image to generate.

    Args:
        id: unique in any set, `<class>/<number>-<digest>`; also its file's name without ending.
        label: 0..C-1.
        prompt: its words.
        number: index of the image within its class, from 0.
        seed: of its noise, a function of (seed of the set, class, words, repeat) alone.
    """

    id: str
    label: int
    prompt: Prompt
    number: int
    seed: int


def plan(prompts: Mapping[str, Sequence[Prompt]], *, per_class: int, seed: int, key: str) -> list[Request]:
    """List all pictures of a set, class by class within each round, so that an unfinished set is nearly balanced.

    Args:
        prompts: class -> prompts, in label order; they are used in turn.
        per_class: pictures of each class.
        seed: of the set.
        key: of the generator's settings, part of each id.

    Returns:
        C * per_class requests. A longer plan of the same settings begins with the shorter one.

    Raises:
        ValueError: for fewer than one picture a class.
    """
    if per_class < 1:
        raise ValueError(f"`per_class` must be at least 1, got {per_class}; say how many pictures of each class are wanted.")
    folders = {name: f"{label:0{len(str(max(len(prompts) - 1, 1)))}d}-{_slug(name)}" for label, name in enumerate(prompts)}
    requests = []
    for number in range(per_class):
        for label, (name, choices) in enumerate(prompts.items()):
            prompt = choices[number % len(choices)]
            own_seed = image_seed(seed, name, prompt.text, number // len(choices))
            digest = hashlib.blake2b(f"{key}\0{own_seed}".encode(), digest_size=4).hexdigest()
            requests.append(Request(f"{folders[name]}/{number:05d}-{digest}", label, prompt, number, own_seed))
    return requests


def image_seed(seed: int, class_name: str, text: str, repeat: int) -> int:
    """Compute the seed of an image's noise, a hash in 0..2**63-1.

    It does not depend on batch, order, process or the number of images.

    Args:
        seed: of the set.
        class_name: of the image.
        text: its prompt.
        repeat: how often the prompt was used before.
    """
    state = hashlib.blake2b("\0".join((str(seed), class_name, text, str(repeat))).encode(), digest_size=8)
    return int.from_bytes(state.digest(), "big") >> 1


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._")[:40] or "class"

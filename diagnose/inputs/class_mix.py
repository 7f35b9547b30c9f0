"""Hold both domains to the same classes, and the same share of each: otherwise a student's weak class alone makes a gap between them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diagnose.inputs.subjects import Images

logger = logging.getLogger(__name__)

TOLERATED = 0.02
"""Share of the images that would have to be of another class (total variation distance): a gap it makes is at most as large, and mostly far smaller."""

MOST_NAMED = 5
"""Classes that a sentence names one by one."""

OneSided = dict[str, tuple[str, int]]
"""Class that one domain alone has images of -> that domain, and how many."""


@dataclass(frozen=True)
class LeftOut:
    """What was left out so that both domains can be compared: classes of one domain alone, and images of each domain for the mix of classes."""

    alone: OneSided
    mix: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Counts for a result or report; empty where nothing was left out."""
        counts = {f"images/left_out/{domain}": count for domain, count in self.mix.items()}
        return counts | ({"classes/left_out": len(self.alone)} if self.alone else {})

    @property
    def notes(self) -> list[str]:
        """What a report says of classes that could not be measured."""
        return [one_sided_sentence(self.alone)] if self.alone else []


def comparable(domains: Sequence[Images], *, seed: int = 0) -> tuple[tuple[Images, ...], LeftOut]:
    """Hold both domains to the same classes, and to the same share of each; see `same_classes` and `same_mix`."""
    kept, alone = same_classes(domains)
    kept, mix = same_mix(kept, seed=seed)
    return kept, LeftOut(alone, mix)


def in_one_list(domains: Sequence[Images]) -> tuple[Images, ...]:
    """Number the classes of both domains by one list: the longer one where it holds all, else the first's with the second's other classes behind.

    Args:
        domains: the images of each domain, whose lists of class names may differ.
    """
    lists = [images.class_names for images in domains]
    names = next((one for one in lists if all(set(other) <= set(one) for other in lists)), None)
    names = tuple(dict.fromkeys(name for one in lists for name in one)) if names is None else names
    return tuple(_renamed(images, names) for images in domains)


def _renamed(images: Images, names: tuple[str, ...]) -> Images:
    if images.class_names == names:
        return images
    places = np.array([names.index(name) for name in images.class_names])
    return replace(images, labels=places[images.labels], class_names=names, fingerprint="")


def same_classes(domains: Sequence[Images]) -> tuple[tuple[Images, ...], OneSided]:
    """Leave out the images of classes that one of two domains has no image of: nothing can be compared there.

    The classes stay among the answers that an encoder may give, so its task is the same for all. Where fewer than two classes are in both
    domains, all images stay, and the probes say what is wrong.

    Args:
        domains: the images of each domain, with the same class names.

    Returns:
        The images; and what was left out, which is logged as well.
    """
    if len(domains) != 2:
        return tuple(domains), {}
    present = [np.unique(images.labels) for images in domains]
    both = np.intersect1d(present[0], present[1])
    alone: OneSided = {
        domains[side].class_names[label]: (domains[side].domain, int((domains[side].labels == label).sum()))
        for side in (0, 1)
        for label in np.setdiff1d(present[side], both)
    }
    if len(both) < 2 or not alone:
        return tuple(domains), {}
    logger.warning("%s", one_sided_sentence(alone))
    return tuple(_select(images, np.flatnonzero(np.isin(images.labels, both))) for images in domains), alone


def one_sided_sentence(alone: OneSided) -> str:
    """Name the classes that were left out, with the remedy; nothing where none was."""
    if not alone:
        return ""
    counted = [f"{name!r} ({count:,} {domain} {'image' if count == 1 else 'images'})" for name, (domain, count) in alone.items()]
    names = ", ".join(counted[:MOST_NAMED]) + (f" and {len(counted) - MOST_NAMED} more" if len(counted) > MOST_NAMED else "")
    some = "A class that one domain alone has images of is" if len(alone) == 1 else "Classes that one domain alone has images of are"
    return (
        f"{some} left out of every measurement: {names}. Add images of the other domain, or give {'it' if len(alone) == 1 else 'them'} the same "
        "name in both."
    )


def same_mix(domains: Sequence[Images], *, seed: int = 0) -> tuple[tuple[Images, ...], dict[str, int]]:
    """Leave out images, drawn by seed, so that both domains have the same share of each class, as many as that allows.

    With shares r_c and s_c of class c in the two domains, both get the mix in proportion to min(r_c, s_c). Domains that differ by at most
    `TOLERATED`, and those in which a class has no image at all in one of them (see `same_classes`), stay as they are.

    Args:
        domains: the images of each domain.
        seed: seed of the choice.

    Returns:
        The images; and domain -> how many were left out, of those that lost any.
    """
    if len(domains) != 2:
        return tuple(domains), {}
    classes = len(domains[0].class_names)
    counts = np.array([np.bincount(images.labels, minlength=classes) for images in domains])  # (2, C)
    shares = counts / counts.sum(axis=1, keepdims=True)
    seen = counts.any(axis=0)
    if np.abs(shares[0] - shares[1]).sum() / 2 <= TOLERATED or not (counts[:, seen] > 0).all():
        return tuple(domains), {}
    mix = shares.min(axis=0) / shares.min(axis=0).sum()
    kept: list[Images] = []
    left: dict[str, int] = {}
    for images, count in zip(domains, counts, strict=True):
        wanted = np.floor(mix * np.min(count[seen] / mix[seen]) + 1e-9).astype(int)
        rng = np.random.default_rng(seed)
        rows = [rng.permutation(np.flatnonzero(images.labels == label))[: max(1, wanted[label])] for label in np.flatnonzero(seen)]
        kept.append(_select(images, np.sort(np.concatenate(rows))))
        if len(kept[-1]) < len(images):
            left[images.domain] = len(images) - len(kept[-1])
    return tuple(kept), left


def sentence(left: Mapping[str, int]) -> str:
    """Say for the report what was left out; nothing where nothing was."""
    if not left:
        return ""
    words = " and ".join(f"{count:,} {domain} images" for domain, count in left.items())
    return f"The classes had other shares in the two domains; {words} were left out, so that both are judged on the same mix of classes."


def _select(images: Images, rows: np.ndarray) -> Images:
    return images if len(rows) == len(images) else images.select(rows)

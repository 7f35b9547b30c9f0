"""One planted draw: train a small student on images with a known cue, run the toolkit on it, and note what is true and what was said."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diagnose.planted.world import Part, Scene, Sizes, World, stage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diagnose.inputs.subjects import Encode, Images, Subject
    from probes.result import ProbeResult

Kind = Literal["cue", "unused", "halves", "imbalance", "weak_teacher"]
"""`cue`: tied to the class. Nulls: `unused`, a cue that is there but tells nothing; `halves`, two halves of the same real images;
`imbalance`, the same with classes of unequal size; `weak_teacher`, as `unused`, with a teacher that sees coarse images only and is worse
than its student."""

LOSSES: dict[str, dict[str, float]] = {
    "image_text": {"image_text_contrastive": 1.0},
    "l2": {"l2": 1.0},
    "image_image": {"image_image_contrastive": 1.0},
}

IMBALANCE = 6.0
"""Images of the most frequent class for each of the rarest in the null `imbalance`."""


@dataclass(frozen=True)
class Draw:
    """One student to train and judge.

    Args:
        kind: see `Kind`.
        cue: name in `probes.planted.plant.CUES`; empty where none is planted.
        strength: how firmly the cue is tied to the class.
        seed: seed of everything; draws of one seed differ in the cue and the loss alone.
        loss: key in `LOSSES`.
        share: share of the synthetic images that carry the cue.
        amplitude: how plain it is.
        judged: whether the toolkit is run; the draws of a dose response are trained and tested only.
    """

    kind: Kind
    cue: str
    strength: float
    seed: int
    loss: str = "image_text"
    share: float = 1.0
    amplitude: float = 1.0
    judged: bool = True

    @property
    def name(self) -> str:
        """A name of its own, also for files."""
        what = {"halves": self.kind, "imbalance": self.kind, "weak_teacher": f"{self.cue}-weak"}.get(self.kind, self.cue)
        some = "" if self.share == 1 else f"-share{self.share:g}"
        plain = "" if self.amplitude == 1 else f"-amp{self.amplitude:g}"
        return f"{what}-{self.strength:g}{some}{plain}-{self.loss}-s{self.seed}{'' if self.judged else '-dose'}"


@dataclass(frozen=True)
class Training:
    """How students are trained: short, small and alike."""

    widths: tuple[int, ...] = (8, 16, 32)
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 4e-3
    shift: float = 0.06


def train_one(scene: Scene, world: World, draw: Draw, training: Training, *, cache: Path) -> nn.Module:
    """Train one student on the scene's training images.

    Args:
        scene: images.
        world: the teacher is its.
        draw: loss and seed.
        training: length and size.
        cache: folder for the teacher's embeddings of training views.

    Returns:
        The encoder, in eval mode.
    """
    import torch

    from distill.training.grid_session import initial_student
    from distill.training.loop import TrainingConfig, make_accelerator
    from distill.training.targets import TeacherTargets
    from distill.training.train import Recipe, TrainingImages, train_student
    from distill.training.views import ViewConfig, Views

    config = TrainingConfig(epochs=training.epochs, batch_size=training.batch_size, learning_rate=training.learning_rate)
    recipe = Recipe(draw.name, draw.loss, LOSSES[draw.loss], "synthetic", draw.seed, kwargs={"widths": list(training.widths)})
    pixels = torch.from_numpy(scene.train.images)
    weights = world.teacher.class_weights(scene.class_names, world.templates)
    # No flips: a cue's place must stay its place. Colours change little, since a cast is one of the cues.
    views = Views(
        ViewConfig(count=2, min_area=1, max_ratio=1, flip=0, shift=training.shift, brightness=0.1, contrast=0.1, saturation=0.1),
        len(pixels),
    )
    accelerator = make_accelerator("auto")
    content = (
        f"{world.name} {draw.cue} {draw.strength} {draw.seed} {draw.share} {draw.amplitude} {draw.kind} {scene.train.rows.tobytes().hex()}"
    )
    targets = TeacherTargets(world.teacher, pixels, views, fingerprint=content, folder=cache, accelerator=accelerator)
    labels = torch.from_numpy(scene.train.labels)
    images = TrainingImages(pixels, views, targets, {"prompt": weights.T[labels].contiguous()}, labels)
    encoder = initial_student(recipe, embed_dim=world.teacher.embed_dim, image_size=pixels.shape[-1])
    with tempfile.TemporaryDirectory() as folder:
        train_student(
            recipe,
            encoder,
            images,
            config=config,
            class_weights=weights,
            held_out={},
            out=Path(folder),
            accelerator=accelerator,
            log=lambda row: None,
        )
    accelerator.free_memory()
    return encoder.eval()


def accuracy(encoder: Encode, images: np.ndarray, labels: np.ndarray, class_weights: Tensor) -> float:
    """Measure zero-shot accuracy on uint8 images (n, 3, H, W)."""
    return float(right(encoder, images, labels, class_weights).mean())


def right(encoder: Encode, images: np.ndarray, labels: np.ndarray, class_weights: Tensor) -> np.ndarray:
    """Tell which images (n, 3, H, W) uint8 an encoder names right, (n,) bool."""
    import torch

    with torch.inference_mode():
        parts = [
            (encoder(torch.from_numpy(images[at : at + 500]).float() / 255) @ class_weights).argmax(dim=1).cpu().numpy()
            for at in range(0, len(images), 500)
        ]
    return np.concatenate(parts) == labels


def images_of(part: Part, domain: Literal["real", "synthetic"], scene: Scene) -> Images:
    """Give a part of a scene as held-out images of one domain."""
    from diagnose.inputs.subjects import Images

    ids = np.array([f"{domain}-{row}" for row in part.rows])
    return Images(domain, ids, part.labels, part.images, scene.class_names)


def subject_of(encoder: nn.Module, draw: Draw, image_size: int) -> Subject:
    """Give the student, of images of `image_size` pixels a side, as the toolkit takes it."""
    from diagnose.inputs.subjects import Subject
    from distill.losses.mix import properties
    from distill.models.batchnorm_folding import fuse_conv_bn
    from distill.models.encoder import parameter_count

    target, negatives = properties(LOSSES[draw.loss])
    return Subject(
        name="student",
        encode=encoder,
        fast_encode=fuse_conv_bn(encoder, image_size),
        params=parameter_count(encoder),
        loss=draw.loss,
        seed=draw.seed,
        trained_on="synthetic",
        target=target,
        negatives=negatives,
    )


def teacher_of(world: World, draw: Draw) -> Subject:
    """Give the teacher as the toolkit takes it."""
    from diagnose.inputs.load import of_teacher
    from probes.edits.smooth import coarse

    teacher = of_teacher(world.teacher)
    if draw.kind != "weak_teacher":
        return teacher
    return replace(
        teacher, name="weak teacher", encode=lambda images: world.teacher.encoder(coarse(images)), weights_hash="", fast_encode=None
    )


def judge(encoder: nn.Module, scene: Scene, world: World, draw: Draw, *, limit: int) -> tuple[dict[str, Any], ProbeResult]:
    """Run the toolkit on one student, as a diagnosis does, and give what it says.

    Args:
        encoder: the student.
        scene: its images; the toolkit sees those called `real` and `synthetic`, and no mask.
        world: the teacher is its.
        draw: what was planted; only the loss is told to the toolkit.
        limit: images of each domain for the interventions.

    Returns:
        What was said, JSON types; and the interventions' result.
    """
    from diagnose.inputs.class_mix import same_mix
    from diagnose.inputs.embed import table_of
    from diagnose.judge import causes, evidence
    from diagnose.report import statement
    from probes.interventions.probe import interventions
    from probes.probe_input import ProbeInput
    from probes.transfer.probe import transfer

    given, _ = same_mix((images_of(scene.real, "real", scene), images_of(scene.synthetic, "synthetic", scene)), seed=draw.seed)
    student, teacher = subject_of(encoder, draw, scene.real.images.shape[-1]), teacher_of(world, draw)
    weights = world.teacher.class_weights(scene.class_names, world.templates).numpy()
    sights = [
        ProbeInput(
            table_of(subject.embed, subject.name, given),
            [images.pixels for images in given],
            subject.encode,
            scene.class_names,
            fast_encode=subject.fast_encode,
        )
        for subject in (student, teacher)
    ]
    results = {
        "transfer": {student.name: transfer(sights[0].table, sights[1].table, class_weights=weights, seed=draw.seed)},
        "interventions": {student.name: interventions(*sights, class_weights=weights, seed=draw.seed, limit=limit)},
    }
    facts = evidence.gather([student], teacher, results, classes=len(scene.class_names))
    measured = facts.measured[0]
    cause = causes.find_cause(measured)
    followed = [item.followed.estimate for item in cause.suspects if item.followed is not None]
    said: dict[str, Any] = {
        "label": statement.state(facts).label,
        "status": cause.status,
        "family": cause.family,
        "substance": cause.substance,
        "where": cause.where,
        "score": max((value.low for value in followed), default=0.0),
        "outcome": {
            name: [value.value, value.low, value.high]
            for name, value in (
                ("real", measured.real),
                ("synthetic", measured.synthetic),
                ("excess", measured.excess),
                ("behind_real", measured.behind_real),
            )
        },
    }
    from probes.planted.plant import CUES

    if draw.cue and CUES[draw.cue].local:
        said["place"] = locate(sights[0], scene, weights, seed=draw.seed)
    return said, results["interventions"][student.name]


def locate(sight: Any, scene: Scene, class_weights: np.ndarray, *, seed: int, count: int = 60) -> dict[str, dict[str, float]]:
    """Ask attribution maps of the predicted class where the cue is: the pointing game and the overlap, beside their chances.

    Args:
        sight: the student with its images, real ones first.
        scene: whose masks are the truth.
        class_weights: (D, C).
        seed: seed of the choice of images.
        count: images asked.
    """
    from probes.attribution.attribution_maps import maps
    from probes.attribution.metrics.localisation import overlap, pointing_game

    marked = np.flatnonzero(scene.synthetic.masks.any(axis=(1, 2)))
    chosen = np.sort(np.random.default_rng(seed).permutation(marked)[:count])
    if not len(chosen):
        return {}
    masks = scene.synthetic.masks[chosen]
    area = masks.mean(axis=(1, 2))
    found = {}
    for method in ("integrated_gradients", "occlusion"):
        drawn = maps(sight, chosen + len(scene.real.labels), method=method, class_weights=class_weights, target="predicted", seed=seed)
        found[method] = {
            "pointing": float(pointing_game(drawn, masks).mean()),
            "pointing_chance": float(area.mean()),
            "overlap": float(np.nanmean(overlap(drawn, masks))),
            "overlap_chance": float((area / (2 - area)).mean()),
        }
    return found


def truth(encoder: nn.Module, scene: Scene, world: World, draw: Draw) -> dict[str, float]:
    """Measure student and teacher on all further held-out images, each of them with and without the cue.

    The same images stand for both domains, so the difference is what the cue does and nothing else.
    """
    weights = world.teacher.class_weights(scene.class_names, world.templates)
    more = scene.more
    found = {"n": float(len(more.labels))}
    for who, module in (("", encoder), ("teacher_", teacher_of(world, draw).encode)):
        for domain, images in (("real", more.clean), ("synthetic", more.images)):
            found[who + domain] = accuracy(module, images, more.labels, weights)
    return found


def run_draw(draw: Draw, world: World, *, training: Training, sizes: Sizes, limit: int, out: Path) -> dict[str, Any]:
    """Train and judge one student.

    Args:
        draw: what to plant.
        world: images and teacher.
        training: length and size of the training.
        sizes: how many images.
        limit: images of each domain for the interventions.
        out: folder of the benchmark; the interventions' result is kept in it.

    Returns:
        The record of the draw, JSON types.
    """
    import time

    start = time.process_time()
    scene = stage(
        world,
        cue=draw.cue or None,
        strength=draw.strength,
        share=draw.share,
        amplitude=draw.amplitude,
        seed=draw.seed,
        sizes=sizes,
        imbalance=IMBALANCE if draw.kind == "imbalance" else 1.0,
    )
    encoder = train_one(scene, world, draw, training, cache=out / "targets")
    record: dict[str, Any] = {"name": draw.name, "draw": asdict(draw), "truth": truth(encoder, scene, world, draw)}
    if draw.judged:
        record["said"], result = judge(encoder, scene, world, draw, limit=limit)
        result.save(out / "interventions" / draw.name)
    record["seconds"] = round(time.process_time() - start, 1)
    return record

"""One planted draw: train a small student on images with a known cue, run the toolkit on it, and record the truth and the answer."""

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
    """Compute zero-shot accuracy in [0, 1] on uint8 images (n, 3, H, W); see `right`.

    Args:
        encoder: images in [0, 1] -> embeddings.
        images: (n, 3, H, W) uint8.
        labels: (n,) int.
        class_weights: (D, C).
    """
    return float(right(encoder, images, labels, class_weights).mean())


def right(encoder: Encode, images: np.ndarray, labels: np.ndarray, class_weights: Tensor) -> np.ndarray:
    """Return which images an encoder classifies correctly.

    Args:
        encoder: images in [0, 1] -> embeddings.
        images: (n, 3, H, W) uint8.
        labels: (n,) int.
        class_weights: (D, C).

    Returns:
        (n,) bool.
    """
    import torch

    with torch.inference_mode():
        parts = [
            (encoder(torch.from_numpy(images[at : at + 500]).float() / 255) @ class_weights).argmax(dim=1).cpu().numpy()
            for at in range(0, len(images), 500)
        ]
    return np.concatenate(parts) == labels


def images_of(part: Part, domain: Literal["real", "synthetic"], scene: Scene) -> Images:
    """Return a part of a scene as held-out images of one domain.

    Args:
        part: images and labels.
        domain: their domain.
        scene: whose class names they have.
    """
    from diagnose.inputs.subjects import Images

    ids = np.array([f"{domain}-{row}" for row in part.rows])
    return Images(domain, ids, part.labels, part.images, scene.class_names)


def subject_of(encoder: nn.Module, draw: Draw, image_size: int) -> Subject:
    """Return the student as a subject of the toolkit; `image_size` is the side in pixels.

    Args:
        encoder: the student.
        draw: its loss and seed.
        image_size: side of the images in pixels.
    """
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
    """Return the teacher as a subject of the toolkit.

    Args:
        world: the teacher is its.
        draw: `weak_teacher` is a teacher that sees coarse images only.
    """
    from diagnose.inputs.load import of_teacher
    from probes.edits.smooth import coarse

    teacher = of_teacher(world.teacher)
    if draw.kind != "weak_teacher":
        return teacher
    return replace(
        teacher, name="weak teacher", encode=lambda images: world.teacher.encoder(coarse(images)), weights_hash="", fast_encode=None
    )


def judge(encoder: nn.Module, scene: Scene, world: World, draw: Draw, *, limit: int) -> tuple[dict[str, Any], ProbeResult]:
    """Run the toolkit on one student, as a diagnosis does.

    Args:
        encoder: the student.
        scene: its images; the toolkit sees those called `real` and `synthetic`, and no mask.
        world: the teacher is its.
        draw: what was planted; only the loss is told to the toolkit.
        limit: images of each domain for the interventions.

    Returns:
        What the toolkit says, JSON types; and the interventions' result.
    """
    from diagnose.embedding_tables import probe_input
    from diagnose.inputs.class_mix import same_mix
    from diagnose.inputs.embed import table_of
    from diagnose.judge import causes, evidence
    from diagnose.report import statement
    from probes.interventions.probe import interventions
    from probes.transfer.probe import transfer

    images, _ = same_mix((images_of(scene.real, "real", scene), images_of(scene.synthetic, "synthetic", scene)), seed=draw.seed)
    student, teacher = subject_of(encoder, draw, scene.real.images.shape[-1]), teacher_of(world, draw)
    weights = world.teacher.class_weights(scene.class_names, world.templates).numpy()
    encoders = [probe_input(subject, table_of(subject.embed, subject.name, images), images, None) for subject in (student, teacher)]
    results = {
        "transfer": {student.name: transfer(encoders[0].table, encoders[1].table, class_weights=weights, seed=draw.seed)},
        "interventions": {student.name: interventions(*encoders, class_weights=weights, seed=draw.seed, limit=limit)},
    }
    facts = evidence.gather([student], teacher, results, classes=len(scene.class_names))
    measured = facts.measured[0]
    cause = causes.find_cause(measured)
    followed = [item.followed.estimate for item in cause.suspects if item.followed is not None]
    answer: dict[str, Any] = {
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
        answer["place"] = locate(encoders[0], scene, weights, seed=draw.seed)
    return answer, results["interventions"][student.name]


def locate(encoder: Any, scene: Scene, class_weights: np.ndarray, *, seed: int, count: int = 60) -> dict[str, dict[str, float]]:
    """Compare attribution maps of the predicted class with the cue's masks: the pointing game and the overlap, beside their chances.

    Args:
        encoder: the student with its images, real ones first.
        scene: whose masks are the truth.
        class_weights: (D, C).
        seed: seed of the choice of images.
        count: images explained.

    Returns:
        Method -> score -> mean over the images; empty where no image carries the cue.
    """
    from probes.attribution.attribution_maps import maps
    from probes.attribution.metrics.localisation import overlap, pointing_game

    marked = np.flatnonzero(scene.synthetic.masks.any(axis=(1, 2)))
    chosen = np.sort(np.random.default_rng(seed).permutation(marked)[:count])
    if not len(chosen):
        return {}
    masks = scene.synthetic.masks[chosen]
    area = masks.mean(axis=(1, 2))
    by_method = {}
    for method in ("integrated_gradients", "occlusion"):
        attributions = maps(
            encoder, chosen + len(scene.real.labels), method=method, class_weights=class_weights, target="predicted", seed=seed
        )
        by_method[method] = {
            "pointing": float(pointing_game(attributions, masks).mean()),
            "pointing_chance": float(area.mean()),
            "overlap": float(np.nanmean(overlap(attributions, masks))),
            "overlap_chance": float((area / (2 - area)).mean()),
        }
    return by_method


def truth(encoder: nn.Module, scene: Scene, world: World, draw: Draw) -> dict[str, float]:
    """Measure student and teacher on all further held-out images, each of them with and without the cue.

    The same images stand for both domains, so the difference is what the cue does and nothing else.

    Args:
        encoder: the student.
        scene: its further images.
        world: the teacher is its.
        draw: what was planted.

    Returns:
        `n`, and accuracies in [0, 1] by encoder and domain.
    """
    weights = world.teacher.class_weights(scene.class_names, world.templates)
    more = scene.more
    accuracies = {"n": float(len(more.labels))}
    for who, module in (("", encoder), ("teacher_", teacher_of(world, draw).encode)):
        for domain, images in (("real", more.clean), ("synthetic", more.images)):
            accuracies[who + domain] = accuracy(module, images, more.labels, weights)
    return accuracies


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

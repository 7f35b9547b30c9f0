"""Discovery on hand-made embeddings: planted components, slices and names, null controls, closed forms and messages."""

from __future__ import annotations

import numpy as np
import pytest

from probes.discovery.neural_pca import neural_pca
from probes.discovery.probe import discovery
from probes.discovery.slicing import error_slices
from probes.embeddings import EmbeddingTable
from probes.probe_input import ProbeInput
from probes.result import ProbeResult

NAMES = ("cat", "dog", "ship", "frog")
COLOURS = ("red", "green", "blue", "pink")
SCENES = ("grass", "snow")
D = 24
AXIS = {word: place for place, word in enumerate((*NAMES, *COLOURS, *SCENES))}
VOCABULARY = {"colour": (*COLOURS, "orange", "grey"), "background": (*SCENES, "sand", "road")}


def embed_text(texts: list[str]) -> np.ndarray:
    """Know class names, colours and scenes; make something else of every text with another word."""
    rows = np.zeros((len(texts), D))
    for row, text in enumerate(texts):
        for token in text.split():
            if token in AXIS:
                rows[row, AXIS[token]] += 1.0
            elif token not in {"a", "photo", "of", "on"}:
                rows[row] += 0.2 * np.random.default_rng([ord(letter) for letter in text]).normal(size=D)
        rows[row, -1] += 0.5
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def world(
    *, tied: bool = True, snow: bool = False, uses: float = 1.5, count: int = 240, seed: int = 0
) -> tuple[ProbeInput, ProbeInput, np.ndarray]:
    """Give a student, a teacher and class weights.

    In synthetic images the colour is the class's own (`tied`), and there is more snow (`snow`). The teacher sees class and attributes; the
    student sees the class less well and takes `uses` times the class of a colour for the class.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(2 * count) % 4
    synthetic = np.arange(2 * count) >= count
    colour = np.where(synthetic & tied & (rng.random(2 * count) < 0.9), labels, rng.integers(0, 4, 2 * count))
    snowy = rng.random(2 * count) < np.where(synthetic & snow, 0.8, 0.2)
    teacher = 0.12 * rng.normal(size=(2 * count, D))
    teacher[np.arange(2 * count), labels] += 1.0
    teacher[np.arange(2 * count), 4 + colour] += 1.0
    teacher[np.arange(2 * count), 8 + snowy] += 0.7
    student = teacher + 0.3 * rng.normal(size=teacher.shape)
    student[np.arange(2 * count), colour] += uses
    ids = np.array([f"image-{row:04d}" for row in range(2 * count)])
    domain = np.where(synthetic, "synthetic", "real")
    pixels = [np.zeros((2 * count, 3, 8, 8), dtype=np.uint8)]
    tables = [EmbeddingTable(ids, part, labels, domain, name) for part, name in ((student, "student"), (teacher, "teacher"))]
    sights = [ProbeInput(table, pixels, lambda images: images, NAMES, embed_text) for table in tables]
    return sights[0], sights[1], np.eye(D)[:, :4]


def run(student, teacher, weights, **named) -> ProbeResult:
    return discovery(student, teacher, class_weights=weights, **({"vocabulary": VOCABULARY, "permutations": 99, "slices": 4} | named))


@pytest.fixture(scope="module")
def tied():
    return run(*world())


def test_a_colour_tied_to_each_class_is_named_for_that_class(tied):
    named = {(entry["class"], entry["word"]) for entry in tied.params["names"]}

    assert named == set(zip(NAMES, COLOURS, strict=True))
    assert {entry["family"] for entry in tied.params["names"]} == {"colour"}
    assert all(entry["p"] < 0.05 for entry in tied.params["names"])


def test_the_student_that_uses_the_colour_is_told_from_one_that_does_not(tied):
    unused = run(*world(uses=0.0))

    assert {entry["word"] for entry in unused.params["names"]} == set(COLOURS)
    for name, word in zip(NAMES, COLOURS, strict=True):
        assert tied.scores[f"used/{name}/{word}"].low > 0.3
        assert tied.scores[f"adjusted_p/used/{name}/{word}"].value < 0.01
        assert unused.scores[f"used/{name}/{word}"].low <= 0.05


def test_a_shift_of_every_class_is_named_once_and_for_no_class():
    result = run(*world(tied=False, snow=True))

    assert [(entry["word"], entry["how"]) for entry in result.params["names"]] == [("snow", "everywhere")]
    assert result.scores["word/snow"].low > 0.1


def test_two_halves_of_one_domain_have_no_name():
    for seed in range(4):
        result = run(*world(tied=False, seed=seed, count=120))
        assert not result.params["names"]


def test_permuted_domains_have_no_name():
    student, teacher, weights = world()
    rng = np.random.default_rng(5)
    domain = student.table.domain.copy()
    for label in range(4):
        rows = np.flatnonzero(student.table.labels == label)
        domain[rows] = rng.permutation(domain[rows])
    shuffled = [
        ProbeInput(
            EmbeddingTable(sight.table.ids, sight.table.embeddings, sight.table.labels, domain, sight.table.name),
            sight.pixels,
            sight.encode,
            NAMES,
            embed_text,
        )
        for sight in (student, teacher)
    ]

    result = run(*shuffled, weights)

    assert not result.params["names"]
    for name, score in result.scores.items():
        if name.startswith("component/") and name.endswith("/auc"):
            assert 0.2 < score.value < 0.8


def test_a_tower_that_knows_no_word_gives_no_name_and_says_so():
    student, teacher, weights = world()
    deaf = ProbeInput(
        teacher.table, teacher.pixels, teacher.encode, NAMES, lambda texts: embed_text([text.replace("red", "rex") for text in texts])
    )

    result = run(student, deaf, weights, vocabulary={"colour": ("red", "orange", "ochre")})

    assert result.counts["words/known"] == 0
    assert "knows none of 3 words" in result.params["naming"]
    assert not result.params["names"]


def test_without_teacher_or_text_tower_components_and_slices_remain():
    student, teacher, weights = world(count=80)
    dumb = ProbeInput(teacher.table, teacher.pixels, teacher.encode, NAMES)

    for other in (None, dumb):
        result = run(ProbeInput(student.table, student.pixels, student.encode, NAMES), other, weights)
        assert result.params["naming"] == "no text tower: no words"
        assert any(name.startswith("component/") for name in result.scores)
        assert any(name.startswith("slice/") for name in result.scores)


def test_the_first_component_of_a_class_is_its_colour_and_separates_the_domains_for_the_student_only(tied):
    first = tied.params["component_names"][0]
    stem = f"component/{first['class']}/{first['index']}"

    assert first["word"] == COLOURS[NAMES.index(first["class"])]
    assert tied.scores[f"{stem}/auc"].low > 0.5  # 30 held-out images of each domain
    assert tied.scores[f"{stem}/auc"].value > 0.75
    assert tied.scores[f"excess/{stem}/effect"].low > 0
    ids = tied.arrays["component/top_images"][0]
    labels = dict(zip(world()[0].table.ids, world()[0].table.labels, strict=True))
    assert {labels[one] for one in ids} == {NAMES.index(first["class"])}


def test_contributions_of_all_components_add_up_to_the_logit():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(40, 7))
    weight = rng.normal(size=7)

    found = neural_pca(embeddings, weight, count=7)

    logit = embeddings @ weight
    np.testing.assert_allclose(found.contributions(embeddings).sum(axis=1), logit - logit.mean(), atol=1e-10)
    spread = ((embeddings * weight - found.middle) @ found.axes).var(axis=0)
    assert (np.diff(spread) <= 1e-12).all()


def test_components_do_not_depend_on_the_sign_the_solver_gave():
    rng = np.random.default_rng(1)
    embeddings, weight = rng.normal(size=(30, 5)), rng.normal(size=5)

    found, mirrored = (neural_pca(part, weight, count=3) for part in (embeddings, embeddings[::-1]))

    np.testing.assert_allclose(found.contributions(embeddings), mirrored.contributions(embeddings), atol=1e-10)


def test_a_planted_group_of_errors_is_the_worst_slice_and_its_rate_is_read_on_held_out_images():
    rng = np.random.default_rng(2)
    embeddings = rng.normal(size=(600, 6))
    bad = np.arange(600) % 5 == 0
    embeddings[bad] += np.array([6.0, 0, 0, 0, 0, 0])
    wrong = np.where(bad, rng.random(600) < 0.9, rng.random(600) < 0.1)

    found = error_slices(embeddings, wrong, count=4, seed=0)

    inside = ~found.fitted & (found.member == 0)
    assert bad[inside].mean() > 0.9
    assert wrong[inside].mean() == pytest.approx(0.9, abs=0.15)
    assert found.fitted.sum() == 300


def test_slices_without_structure_have_equal_error_on_held_out_images(tied):
    rng = np.random.default_rng(3)
    wrong = rng.random(800) < 0.3

    found = error_slices(rng.normal(size=(800, 6)), wrong, count=4, seed=0)

    rates = [wrong[~found.fitted & (found.member == group)] for group in range(4)]
    for group in rates:
        assert group.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / len(group)))


def test_a_result_is_the_same_twice_and_survives_saving(tied, tmp_path):
    again = run(*world())
    tied.save(tmp_path / "student")

    assert again.to_dict() == tied.to_dict()
    assert ProbeResult.load(tmp_path / "student").to_dict() == tied.to_dict()
    for name, score in tied.scores.items():
        assert name == name.lower()
        assert " " not in name
        assert score.low <= score.value <= score.high


def test_progress_is_told_and_the_order_of_images_in_the_table_does_not_matter_to_names():
    student, teacher, weights = world()
    told = []
    order = np.random.default_rng(0).permutation(len(student))
    turned = [ProbeInput(s.table.select(order), [s.pixels[0][order]], s.encode, NAMES, embed_text) for s in (student, teacher)]

    result = run(*turned, weights, progress=lambda done, total: told.append((done, total)))

    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert {(entry["class"], entry["word"]) for entry in result.params["names"]} == set(zip(NAMES, COLOURS, strict=True))


def test_of_many_classes_some_are_chosen_so_that_each_has_enough_images():
    rng = np.random.default_rng(0)
    labels, domain = np.arange(40 * 24) % 40, np.where(np.arange(40 * 24) < 40 * 12, "real", "synthetic")
    table = EmbeddingTable(np.arange(40 * 24).astype(str), rng.normal(size=(40 * 24, 6)), labels, domain, "student")
    sight = ProbeInput(table, [np.zeros((40 * 24, 3, 8, 8), dtype=np.uint8)], lambda images: images, tuple(map(str, range(40))))

    result = discovery(sight, None, class_weights=rng.normal(size=(6, 40)), limit=100, permutations=19)

    assert result.counts["classes"] == 100 // 16


def test_classes_that_are_all_too_small_are_refused():
    student, teacher, weights = world(count=20)

    with pytest.raises(ValueError, match="8 images in each domain of at least 2 classes, got 0 such classes"):
        discovery(student, teacher, class_weights=weights)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"class_weights": None}, r"`class_weights` must be a \(D, C\) array for `discovery`, got None"),
        ({"permutations": 5}, "must be at least 1, 2, 19, 8, got 10, 8, 5, 2000; raise them"),
        ({"limit": 12}, "8 images in each domain of at least 2 classes, got 0 such classes; raise `limit`"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_remedy(named, message):
    student, teacher, weights = world(count=40)

    with pytest.raises(ValueError, match=message):
        discovery(student, teacher, **({"class_weights": weights} | named))

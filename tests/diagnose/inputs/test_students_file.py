"""A file of students: what it says of each, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from diagnose.inputs.students_file import read_students_file
from diagnose.inputs.subjects import Subject
from diagnose.inputs.trained_as import TrainedAs, annotate, read_trained_as, read_trained_options


@pytest.fixture
def write(tmp_path: Path):
    (tmp_path / "l2.pt").touch()
    (tmp_path / "models.py").touch()

    def build(text: str) -> Path:
        path = tmp_path / "students.toml"
        path.write_text(text)
        return path

    return build


def test_one_table_a_student_says_all_that_a_run_would_know(write, tmp_path):
    path = write(
        """
        teacher = "open_clip:ViT-B-32/openai"
        real = "models.py"
        templates = ["a {}"]
        [students.l2-s0]
        model = "models.py:student"
        weights = "l2.pt#ema"
        loss = "my_l2"
        target = "image"
        negatives = false
        trained_on = "synthetic"
        seed = 0
        prompts = 80
        temperature = 0.07
        [students.other]
        model = "timm:resnet18"
        """
    )

    file = read_students_file(path)

    first, second = file.students
    assert (first.name, first.model, first.weights) == ("l2-s0", f"{tmp_path}/models.py:student", f"{tmp_path}/l2.pt#ema")
    assert first.trained == TrainedAs("my_l2", "image", False, "synthetic", 0, {"prompts": "80", "temperature": "0.07"})
    assert first.trained.levels == {"target": "image", "negatives": "no", "prompts": "80", "temperature": "0.07"}
    assert (second.model, second.trained) == ("timm:resnet18", TrainedAs())
    assert (file.teacher, file.real, file.templates, file.name) == (
        "open_clip:ViT-B-32/openai",
        str(tmp_path / "models.py"),
        ("a {}",),
        "students",
    )


STUDENT = "[students.a]\nmodel = 'timm:resnet18'\n"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("", ValueError, "must describe at least one student"),
        ("students = 3", ValueError, "must be tables"),
        ("[students]\na = 1", ValueError, "must be tables, got a = 1"),
        ("[[students]]\nname='a'\nmodel='timm:x'\n[[students]]\nname='a'\nmodel='timm:y'", ValueError, "unique, got 'a' 2 times"),
        (STUDENT + STUDENT, ValueError, "must be TOML"),
        ("teachr = 'x'\n" + STUDENT, ValueError, "unknown key `teachr` .*did you mean teacher"),
        ("loss = 'l2'\n" + STUDENT, ValueError, "stands in its own table"),
        ("real = 3\n" + STUDENT, ValueError, "`real` .* must be str, got 3"),
        ("image_size = true\n" + STUDENT, ValueError, "`image_size` .* must be int"),
        ("[students.a]\nweights = 'l2.pt'", ValueError, "`model` of student 'a' must be given"),
        ("[students.a]\nmodell = 'timm:x'", ValueError, "looks like `model`"),
        (STUDENT + "weigths = 'l2.pt'", ValueError, "looks like `weights`"),
        (STUDENT + "weights = 'gone.pt'", FileNotFoundError, "`weights` of student 'a' must be a file that exists, got gone.pt"),
        (STUDENT + "class_weights = 'gone.npy'", FileNotFoundError, "`class_weights` of student 'a'"),
        (STUDENT + "negativs = true", ValueError, "looks like `negatives`"),
        (STUDENT + "negatives = 'perhaps'", ValueError, "must be true or false, got 'perhaps'"),
        (STUDENT + "target = 'texts'", ValueError, "must be 'image' or 'text', got 'texts'"),
        (STUDENT + "seed = 1.5", ValueError, "must be a whole number, got 1.5"),
        (STUDENT + "loss = 3", ValueError, "`loss` of student 'a' must be a name, got 3"),
        (STUDENT + "augmentation = ['a']", ValueError, "`augmentation` of student 'a' must be one level"),
        (STUDENT + "factors = 3", ValueError, "`factors` of student 'a' must be a table"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(write, text, kind, message):
    with pytest.raises(kind, match=message):
        read_students_file(write(text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="file of students must be a file that exists"):
        read_students_file(tmp_path / "gone.toml")


def test_a_factor_that_looks_like_a_key_goes_into_its_own_table(write):
    trained = read_students_file(write(STUDENT + "[students.a.factors]\nweight = 1\nmodes = true")).students[0].trained

    assert trained.factors == {"weight": "1", "modes": "yes"}


def test_a_loss_that_is_known_here_brings_its_levels_and_what_is_told_goes_before_them():
    trained = TrainedAs(loss="image_text_contrastive", trained_on="synthetic", negatives=False, factors={"pool": "queue"})

    assert trained.levels["target"] == "text"
    assert trained.levels["real_images"] == "0 %"
    assert trained.levels["negatives"] == "no"
    assert trained.levels["pool"] == "queue"


def test_a_subject_is_told_what_is_known_and_keeps_the_rest():
    subject = Subject("a", abs, 3, loss="old", seed=4, trained_on="real", levels={"prompts": "1"})

    told = annotate(subject, read_trained_options(["target=text", "negatives=yes", "width=64"]))

    assert (told.loss, told.seed, told.trained_on, told.target, told.negatives) == ("old", 4, "real", "text", True)
    assert told.levels == {"prompts": "1", "target": "text", "negatives": "yes", "width": "64"}
    assert annotate(subject, TrainedAs()) is subject


def test_a_known_loss_tells_target_and_negatives_too():
    told = annotate(Subject("a", abs, 3), TrainedAs(loss="l2"))

    assert (told.target, told.negatives) == ("image", False)
    assert told.recipe == "1 l2[]"


@pytest.mark.parametrize(
    ("options", "message"),
    [(["loss"], "must be KEY=VALUE, got 'loss'"), (["loss=a", "loss=b"], "must be given once"), (["los=a"], "looks like `loss`")],
)
def test_options_that_are_wrong_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        read_trained_options(options)


def test_numbers_and_truth_values_become_levels():
    assert read_trained_as({"epochs": 3, "mixup": False, "temperature": 0.10}, "x").factors == {
        "epochs": "3",
        "mixup": "no",
        "temperature": "0.1",
    }

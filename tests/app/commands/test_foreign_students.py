"""Other people's students at the command line: two towers, another space, a file that says what was trained, and `synthgap check`."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

PER_CLASS = 20


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """Write 200 images of each domain of the pocket, and its teacher, and the same teacher with images and texts rotated together."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    from distill.packs.pocket import pocket_split, teacher_folder

    folder = tmp_path_factory.mktemp("digits")
    for domain in ("real", "synthetic"):
        split = pocket_split(f"test-{domain}")
        rows = np.sort(np.concatenate([np.flatnonzero(split.labels == label)[:PER_CLASS] for label in range(10)]))
        encoded = []
        for pixels in np.asarray(split.pixels(None))[rows]:
            buffer = io.BytesIO()
            Image.fromarray(pixels.transpose(1, 2, 0)).save(buffer, "PNG")
            encoded.append(buffer.getvalue())
        names = [split.class_names[split.labels[row]] for row in rows]
        table = {"id": [f"{row}" for row in rows], "image": encoded, "class_name": names, "domain": [domain] * len(rows)}
        pq.write_table(pa.table(table), folder / f"{domain}.parquet")
    shutil.copytree(teacher_folder(), folder / "teacher")
    shutil.copytree(teacher_folder(), folder / "rotated")
    file = folder / "rotated" / "open_clip_model.safetensors"
    state = load_file(file)
    turn = torch.linalg.qr(torch.randn(96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    state["text_projection"] = (state["text_projection"].double() @ turn).float()
    state["visual.head.proj.weight"] = (turn.T @ state["visual.head.proj.weight"].double()).float()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    (folder / "images_alone.py").write_text(
        "from distill.models.open_clip_models import image_tower, open_clip_model\n"
        f"def model():\n    return image_tower(open_clip_model({str(folder / 'rotated')!r}, 'student'))\n"
    )
    return folder


def arguments(folder: Path) -> list[object]:
    return ["--teacher", folder / "teacher", "--real", folder / "real.parquet", "--synthetic", folder / "synthetic.parquet"]


def test_a_student_with_two_towers_keeps_its_accuracy_and_the_teachers_space_is_beside_it(run, digits, tmp_path):
    code, out, err = run(
        "probe", "transfer", "--student", f"open_clip:{digits / 'rotated'}", *arguments(digits), "--out", tmp_path / "out", "--json"
    )

    assert code == 0, err
    scores = json.loads(out)["scores"]
    assert scores["zero_shot/real"]["value"] == scores["teacher/zero_shot/real"]["value"] > 0.8
    assert scores["teacher_space/zero_shot/real"]["value"] < 0.3
    assert scores["below_teacher/real"]["value"] == 0.0
    assert "scored with the texts of its own text tower; by its teacher's texts it is right on" in err


def test_without_a_teacher_its_own_texts_are_enough(run, digits, tmp_path):
    data = ["--real", digits / "real.parquet", "--synthetic", digits / "synthetic.parquet"]

    for name, score in (("transfer", "zero_shot/real"), ("corruptions", "clean/real")):
        code, out, err = run(
            "probe", name, "--student", f"open_clip:{digits / 'rotated'}", *data, "--limit", 40, "--out", tmp_path, "--json"
        )
        assert code == 0, err
        assert json.loads(out)["scores"][score]["value"] > 0.7


def test_a_report_leads_with_a_students_own_texts_and_says_so(run, digits, tmp_path):
    code, _out, err = run(
        "diagnose",
        "--student",
        f"open_clip:{digits / 'rotated'}",
        *arguments(digits),
        "--out",
        tmp_path,
        "--probe",
        "transfer",
        "--probe",
        "drift",
    )

    assert code == 0, err
    report = json.loads((tmp_path / "report.json").read_text())
    (student,) = report["students"]
    assert student["text_space"] == "own"
    assert student["zero_shot"]["real"]["value"] == report["teacher"]["zero_shot"]["real"]["value"] > 0.8
    assert "is scored with the texts of its own text tower" in report["verdict"]["statement"]
    statements = {finding["id"]: finding["statement"] for finding in report["findings"]}
    assert "the cosine to its teacher does not apply" in statements["drift/rotated"]
    assert "1.00" in statements["drift/rotated"]  # linear CKA of a rotation
    assert "behind" not in report["verdict"]["statement"]


def test_images_alone_of_another_space_are_said_to_live_there_and_not_behind(run, digits, tmp_path):
    student = f"{digits / 'images_alone.py'}:model"

    code, _out, err = run(
        "diagnose", "--student", student, *arguments(digits), "--out", tmp_path, "--probe", "transfer", "--probe", "drift"
    )

    assert code == 0, err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"]["label"] == "inconclusive"
    assert "lives in another space than its teacher's texts" in report["verdict"]["statement"]
    assert "name its text tower" in report["verdict"]["statement"]
    assert report["students"][0]["text_space"] == "teacher"
    assert not report["factors"]
    outcome = next(finding for finding in report["findings"] if finding["id"].startswith("outcome/"))
    assert outcome["verdict"] == "inconclusive"
    assert "behind the teacher" not in outcome["statement"]

    _, _, beside = run("probe", "drift", "--student", student, *arguments(digits), "--out", tmp_path / "drift")
    assert "where the cosine does not apply" in beside


def test_class_weights_of_its_own_space_are_a_remedy_that_works(run, digits, tmp_path):
    import numpy as np

    from distill.models.teacher import load_teacher
    from distill.text.prompts import DEFAULT_TEMPLATES

    names = sorted({"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"})
    weights = load_teacher(str(digits / "rotated")).class_weights(names, DEFAULT_TEMPLATES)
    np.save(tmp_path / "own.npy", weights.numpy())
    (tmp_path / "students.toml").write_text(
        f"teacher = '{digits / 'teacher'}'\nreal = '{digits / 'real.parquet'}'\nsynthetic = '{digits / 'synthetic.parquet'}'\n"
        f"[students.a]\nmodel = '{digits / 'images_alone.py'}:model'\nclass_weights = 'own.npy'\n"
    )

    code, _, err = run("diagnose", tmp_path / "students.toml", "--out", tmp_path / "out", "--probe", "transfer")

    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["students"][0]["zero_shot"]["real"]["value"] > 0.8
    assert report["students"][0]["text_space"] == "own"


def test_a_teacher_without_class_weights_serves_the_probes_that_need_none(run, digits, tmp_path):
    data = ["--real", digits / "real.parquet", "--synthetic", digits / "synthetic.parquet"]
    models = ["--student", f"open_clip:{digits / 'teacher'}", "--teacher", f"{digits / 'images_alone.py'}:model"]

    for name in ("separability", "drift", "depth"):
        code, out, err = run("probe", name, *models, *data, "--out", tmp_path, "--json")
        assert code == 0, err
        assert json.loads(out)["reference"] == "model"
    code, _, err = run("probe", "transfer", *models, *data, "--out", tmp_path)
    assert code == 2
    assert "`class_weights` must be" in err
    assert "--class-weights" in err

    code, _, err = run("diagnose", *models, *data, "--out", tmp_path / "d", "--probe", "transfer", "--probe", "separability")
    assert code == 0
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    assert {record["probe"]: record["status"] for record in report["probes"]} == {"transfer": "failed", "separability": "done"}
    assert report["verdict"]["label"] == "inconclusive"


def test_a_teacher_at_chance_is_said_with_the_likely_causes(run, tiny_data, teacher_folder, tmp_path):
    models = ["--student", f"open_clip:{teacher_folder}", "--teacher", teacher_folder]  # never trained
    data = ["--real", tiny_data / "test-real.parquet", "--synthetic", tiny_data / "test-synthetic.parquet"]

    code, _, err = run("probe", "transfer", *models, *data, "--out", tmp_path)

    assert code == 0, err
    assert "The teacher tiny is right on" in err
    assert "not surely more than chance (33.3 %)" in err
    assert "normalised otherwise" in err


def test_the_students_of_a_run_described_in_a_file_are_judged_as_the_run_is(run, write_config, tmp_path):
    from distill.models.checkpoint import load_student

    path = write_config(
        students={"l2": {"loss": {"l2": 1.0}}, "text": {"loss": {"image_text_contrastive": 1.0}, "trained_on": ["synthetic", "real"]}}
    )
    folder, out = tmp_path / "run", tmp_path / "foreign"
    assert run("train", path, "--out", folder)[0] == 0
    assert run("diagnose", folder, "--probe", "transfer")[0] == 0
    ours = json.loads((folder / "report.json").read_text())
    import tomllib

    config = tomllib.loads(path.read_text())
    data = Path(config["data"]["folder"])
    lines = [f"teacher = '{config['teacher']['model']}'", f"real = '{data / 'test-real.parquet'}'", "name = 'tiny'"]
    lines += [f"synthetic = '{data / 'test-synthetic.parquet'}'"]
    for student in ours["students"]:
        encoder, description = load_student(folder / "students" / student["name"] / "student.safetensors")
        torch.save(encoder.state_dict(), tmp_path / f"{student['name']}.pt")
        lines += [f"[students.{student['name']}]", "model = 'foreign.py:student'", f"weights = '{student['name']}.pt'"]
        lines += [f"{key} = {json.dumps(student[key])}" for key in ("loss", "target", "negatives", "trained_on", "seed")]
        lines += ["[students.{}.factors]".format(student["name"])] + [f"{k} = {json.dumps(v)}" for k, v in student["levels"].items()]
    (tmp_path / "foreign.py").write_text(
        "from distill.models.student import attach_projection, build_backbone\n"
        f"def student():\n    backbone = build_backbone({description['spec']!r}, {description['kwargs']!r})\n"
        f"    return attach_projection(backbone, {description['embed_dim']}, image_size={description['image_size']})\n"
    )
    (tmp_path / "students.toml").write_text("\n".join(lines))

    code, _, err = run("diagnose", tmp_path / "students.toml", "--out", out, "--probe", "transfer")

    assert code == 0, err
    theirs = json.loads((out / "report.json").read_text())
    for key in ("verdict", "factors", "contrasts", "divisions", "teacher"):
        assert theirs[key] == ours[key], key
    assert ours["factors"]
    plain = lambda report: [{**student, "curve": [], "params": 0} for student in report["students"]]  # noqa: E731
    assert plain(theirs) == plain(ours)


def test_one_student_is_told_by_options(run, digits, tmp_path):
    student = ["--student", f"open_clip:{digits / 'rotated'}", *arguments(digits), "--out", tmp_path, "--probe", "transfer"]

    code, _, err = run("diagnose", *student, "--trained", "loss=l2", "--trained", "trained_on=synthetic", "--trained", "width=64")

    assert code == 0, err
    (told,) = json.loads((tmp_path / "report.json").read_text())["students"]
    assert (told["loss"], told["target"], told["negatives"], told["trained_on"]) == ("l2", "image", False, "synthetic")
    assert told["levels"]["width"] == "64"
    code, _, err = run("diagnose", *student, "--student", f"open_clip:{digits / 'teacher'}", "--trained", "loss=l2")
    assert code == 2
    assert "exactly one --student, got 2" in err


@pytest.mark.parametrize(
    ("extra", "message"), [(["--weights", "x.pt"], "`--weights` must be left out"), ([], "`--out` must be given with a file of students")]
)
def test_options_that_do_not_go_with_a_file_of_students_are_refused(run, tmp_path, extra, message):
    (tmp_path / "students.toml").write_text("teacher = 'x'\n[students.a]\nmodel = 'timm:resnet18'\n")

    code, _, err = run("diagnose", tmp_path / "students.toml", *extra)

    assert code == 2
    assert message in err


def test_check_says_how_a_model_was_read_and_fails_where_own_code_differs(run, digits, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "import numpy as np, torch\nfrom distill.models.checkpoint import load_encoder\n"
        f"encoder = load_encoder('open_clip:{digits / 'teacher'}', image_size=32)\n"
        "def pixels(pictures):\n    return torch.stack([torch.from_numpy(np.asarray(p).copy()).permute(2, 0, 1).float() / 255 for p in pictures])\n"
        "def right(pictures):\n    return encoder(pixels(pictures)).detach()\n"
        "def blue_first(pictures):\n    return encoder(pixels(pictures).flip(1)).detach()\n"
    )
    model = [f"open_clip:{digits / 'teacher'}", "--data", digits / "real.parquet"]

    code, out, err = run("check", *model, "--against", f"{own}:right", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["against"]["same"]
    assert report["dimension"] == 96
    assert report["text_space"]["logit_scale"] > 1

    code, out, err = run("check", *model, "--against", f"{own}:blue_first")
    assert code == 1, err
    assert "likely cause     colours in the order blue, green, red" in out


def test_a_model_that_sees_nothing_is_said_before_anything_is_measured(run, digits, tmp_path):
    file = tmp_path / "blind.py"
    file.write_text(
        "import torch\nclass Blind(torch.nn.Module):\n    def forward(self, x):\n        return torch.ones(len(x), 96)\ndef model():\n    return Blind()\n"
    )

    code, _, err = run("probe", "transfer", "--student", f"{file}:model", *arguments(digits), "--out", tmp_path / "out")

    assert code == 2
    assert err.startswith("odd: model: embeddings are constant")
    assert run("check", f"{file}:model")[2].startswith("odd: embeddings are constant")


@pytest.mark.parametrize(("right", "warned"), [(30, False), (12, True), (10, True)])
def test_the_last_line_of_teach_says_chance_and_warns_where_it_is_not_surely_beaten(right, warned, tiny_data, capsys):
    from app.commands.teach import _result
    from distill.data.split import load_split

    held_out = load_split(str(tiny_data / "test-real.parquet"), domain="real")  # 30 images, three classes of ten

    line = _result(right / 30, "test.parquet", held_out)

    assert line == f"zero-shot accuracy on test.parquet: {100 * right / 30:.1f} % (chance 33.3 %)"
    assert ("not surely better than chance" in capsys.readouterr().err) is warned

"""The promises of SECURITY.md that no other test holds."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import bad_tables
import pytest
from bad_texts import report as small_report
from bad_weights import student

ROOT = Path(__file__).parents[2]
FILES = sorted(path for package in ("app", "diagnose", "distill", "probes") for path in (ROOT / package).rglob("*.py"))
MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "[x](javascript:alert(1))",
    "]]><x/>",
    "| a | b |",
    "\x00\x1b[31m",
]


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.unparse(given.value) for given in call.keywords if given.arg == name), None)


def test_no_code_of_ours_unpickles() -> None:
    wrong = []
    for path in FILES:
        for name, call in calls(path):
            if re.search(r"\b(pickle|cPickle|dill|joblib|shelve|marshal|cloudpickle)\.", name) or name.endswith(
                ("read_pickle", "jsonpickle.decode")
            ):
                wrong.append(f"{path}: {name}")
            if name == "torch.load" and keyword(call, "weights_only") != "True":
                wrong.append(f"{path}: torch.load without weights_only=True")
            if name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False":
                wrong.append(f"{path}: np.load without allow_pickle=False")

    assert wrong == []


def test_nothing_is_evaluated_or_given_to_a_shell() -> None:
    wrong = [
        f"{path}: {name}"
        for path in FILES
        for name, call in calls(path)
        if name in ("eval", "exec", "os.system", "os.popen") or keyword(call, "shell") == "True"
    ]

    assert wrong == []


def test_remote_code_is_never_trusted() -> None:
    found = {
        f"{path}: {match}" for path in FILES for match in re.findall(r"trust_remote_code\W+(\w+)", path.read_text()) if match != "False"
    }

    assert found == set()


def test_no_archive_is_extracted() -> None:
    wrong = [f"{path}: {name}" for path in FILES for name, _ in calls(path) if name.endswith((".extractall", ".extract", "unpack_archive"))]

    assert wrong == []


@pytest.mark.parametrize("name", ["leads out.tar", "leads out in the middle.tar", "from the root.tar", "link.tar", "hard link.tar"])
def test_nothing_is_written_by_reading_an_archive(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.data.split import load_split

    place = tmp_path / "a" / "b" / "c"
    place.mkdir(parents=True)
    (place / name).write_bytes(bad_tables.TARS_REFUSED[name]())
    monkeypatch.chdir(place)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ValueError, match=r"must"):
        load_split(place / name, domain="real")

    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/etc/0001.png").exists()


@pytest.mark.timeout(120)
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    from distill.data.split import load_split

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.png").write_bytes(bad_tables.picture())
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    (tmp_path / "dog" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "dog" / "round.png").symlink_to("round.png")
    (tmp_path / "cat" / "folder.png").mkdir()

    with pytest.raises(
        ValueError, match=r"got 3 of 5 that are not: .*pipe.png \(not a regular file\), .*round.png .*, .*zero.png \(not a regular file\)"
    ):
        load_split(tmp_path, domain="real").validate()


@pytest.mark.timeout(120)
def test_file_full_of_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    from distill.data.split import load_split

    (tmp_path / "cat").mkdir()
    with (tmp_path / "cat" / "holes.png").open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(ValueError, match=r"holes.png \(gigantic: 1048576 MiB are more than 256\)"):
        load_split(tmp_path, domain="real").validate()


@pytest.mark.parametrize("name", ["vocabulary", "config", "contexts", "class names", "metrics"])
def test_text_file_full_of_holes_is_refused_before_it_is_read(name: str, tmp_path: Path) -> None:
    from readers import READERS

    with (tmp_path / "holes.toml").open("wb") as file:
        file.truncate(2**40)

    with pytest.raises(ValueError, match=r"must be|must have"):
        READERS[name](tmp_path / "holes.toml", tmp_path)


def test_checkpoint_cannot_name_code_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill.errors import DistillError
    from distill.models.checkpoint import load_student

    monkeypatch.delenv("SYNTHGAP_TRUST_CODE", raising=False)
    code = tmp_path / "evil.py"
    code.write_text(f"open({str(tmp_path / 'proof')!r}, 'w')\ndef build(): pass\n")
    path = tmp_path / "run" / "students" / "a" / "student.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(student(spec=f"{code}:build", kwargs={})())

    with pytest.raises(DistillError, match="must not choose the code that is run"):
        load_student(path)
    (tmp_path / "run" / "config.toml").write_text("[student]\nmodel = 'builtin:small_resnet'\n")
    with pytest.raises(DistillError, match="must not choose the code that is run"):
        load_student(path)
    assert not (tmp_path / "proof").exists()

    monkeypatch.setenv("SYNTHGAP_TRUST_CODE", "1")
    with pytest.raises(ValueError, match=r"must return a torch.nn.Module"):
        load_student(path)
    assert (tmp_path / "proof").exists()  # the payload is real


NATIVE = {"svg"}
"""Tags that the page draws its own charts with."""


class Seen(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def nasty_report() -> object:
    from diagnose.schema import Report

    data = json.loads(small_report()())
    nasty = " ".join(MARKUP)
    nothing = {"real": None, "synthetic": None}
    data |= {
        "name": nasty,
        "about": nasty,
        "class_names": MARKUP,
        "teacher": {"name": nasty, "params": 1, "zero_shot": nothing},
        "students": [{"name": nasty, "params": 1, "zero_shot": nothing, "loss": nasty, "trained_on": nasty}],
        "findings": [
            {"id": f"{section}/{nasty}", "probe": nasty, "verdict": verdict, "statement": nasty, "alternatives": [], "students": [nasty]}
            for section, verdict in (("outcome", "fail"), ("cause", "inconclusive"), ("drift", "warn"))
        ],
        "verdict": {"label": "inconclusive", "statement": nasty},
        "probes": [{"probe": "drift", "subject": nasty, "status": "failed", "error": nasty}],
        "environment": {nasty: nasty},
    }
    return Report.model_validate(data)


def test_markup_in_every_name_stays_text_in_report_junit_and_summary(tmp_path: Path) -> None:
    from diagnose.report import junit, render, summary
    from diagnose.stored_images.samples import Row

    made = nasty_report()
    nasty = " ".join(MARKUP)
    rows = [Row(nasty, bad_tables.picture(), "real", 0, nasty, {nasty: nasty})]

    page = render.page(made, rows)
    junit.write(made, tmp_path / "junit.xml")
    short = summary.page(made)

    seen = Seen()
    seen.feed(page)
    assert "&lt;script&gt;alert(1)" in page
    assert not seen.tags & {"script", "svg", "x", "iframe", "object", "link"} - NATIVE
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    links = [value or "" for name, value in seen.attributes if name in ("src", "href")]
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert {child.tag for child in root.iter()} <= {"testsuites", "testsuite", "testcase", "failure", "skipped", "error", "system-out"}
    assert any(MARKUP[0] in (child.get("message") or "") for child in root.iter())
    assert not re.search(r"(?<!\\)<", short)
    assert not re.search(r"(?<!\\)\[x", short)

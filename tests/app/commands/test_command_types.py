"""The boundary between the command line and the packages is typed, and asking for help loads nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import app
from app.terminal.inputs import ModelOptions

FOLDER = Path(app.__file__).parent
BOUNDARY = sorted([*(FOLDER / "commands").glob("*.py"), *(FOLDER / "terminal").glob("*.py"), FOLDER / "cli.py"])


def untyped(source: str) -> list[int]:
    """List the lines on which the name `Any` stands."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name) and node.id == "Any"]


@pytest.mark.parametrize("path", BOUNDARY, ids=lambda path: path.stem)
def test_no_command_takes_or_returns_any(path: Path) -> None:
    assert untyped(path.read_text(encoding="utf-8")) == []


def test_the_search_for_any_finds_it() -> None:
    assert untyped("from typing import Any\n\ndef run(given: Any) -> dict[str, Any]: ...\n") == [3, 3]


def test_weights_go_with_the_students_in_order() -> None:
    options = ModelOptions(students=["timm:a", "timm:b"], weights=["a.pt"], real="photos")

    assert options.weights_by_student == [("timm:a", "a.pt"), ("timm:b", None)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "`--real` and `--synthetic` must be given, got neither; name held-out images of both domains."),
        (
            {"real": "photos", "weights": ["a.pt", "b.pt"]},
            "`--weights` must be given at most once for each --student, got 2 for 1; drop some.",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_loaded(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelOptions(students=["timm:resnet18"], **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [["diagnose", "--help"], ["probe", "--help"], ["synthesize", "--help"]])
def test_the_help_of_a_command_loads_none_of_our_packages(words: list[str]) -> None:
    program = (
        f"import sys; sys.argv = ['synthgap', *{words!r}]\n"
        "from app.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(','.join(sorted({'torch', 'numpy', 'pandas', 'rich.progress', 'streamlit', 'diagnose', 'distill', 'probes'} & set(sys.modules))) or 0)"
    )

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert finished.returncode == 0, finished.stderr
    assert "Usage" in finished.stdout

"""The judge hands over numbers and labels; sentences are written elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import diagnose.judge

MOST_WORDS = 4
"""Names such as `l2 on unknown images` are no sentences."""


def outside_errors(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of `raise` statements, docstrings and `fmt` of a regular expression."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Raise) or (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            continue
        yield child
        yield from outside_errors(child)


def sentences(code: str) -> list[str]:
    """Texts of more words than a name has."""
    texts = [node.value for node in outside_errors(ast.parse(code)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in texts if len(text.split()) > MOST_WORDS]


def test_a_sentence_is_seen_outside_errors_and_docstrings_alone() -> None:
    assert sentences('x = f"{a} held for none of the students."') == [" held for none of the students."]
    assert sentences('"""A docstring of more than four words."""\nraise ValueError("an error of more than four words")') == []


def test_the_judge_writes_no_sentence() -> None:
    files = sorted(Path(diagnose.judge.__file__).parent.glob("*.py"))

    assert len(files) > 10
    assert {file.name: found for file in files if (found := sentences(file.read_text(encoding="utf-8")))} == {}

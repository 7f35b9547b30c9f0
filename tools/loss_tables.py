"""Write what docs/losses.md and configs/losses_cifake.toml say of each loss, from its row in the registry: `python -m tools.loss_tables`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from distill.losses import LOSSES, Loss

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "losses.md"
CONFIG = ROOT / "configs" / "losses_cifake.toml"

TARGETS = ("image", "text", "labels", "scores", "relations")
"""Order of the rows in the page's table."""

NEEDS = {
    "teacher": "teacher",
    "text": "text",
    "shares": "labels",
    "class_weights": "class weights",
    "rows": "rows",
    "masked": "masked view",
    "momentum": "*moving average*",
}
"""Field of the batch -> words; what every training has anyway, such as the temperature, is left out."""

START, END = "<!-- rows of distill/losses/registry.py, written by `python -m tools.loss_tables` -->", "<!-- end of the rows -->"
STUDENTS = "# Rows of distill/losses/registry.py, written by `python -m tools.loss_tables`."


def table(losses: Mapping[str, Loss]) -> str:
    """Write the losses as a Markdown table, grouped by target, and a sentence with the options and their defaults.

    Args:
        losses: name -> row; rows of one target keep their order.
    """
    rows = [_row(name, loss) for target in TARGETS for name, loss in losses.items() if loss.target == target]
    options = [
        f"`{name}`: {', '.join(f'`{option}` ({value:g})' for option, value in loss.defaults().items())}"
        for name, loss in losses.items()
        if loss.options
    ]
    head = ["| loss | formula | target | negatives | soft | needs | source |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"Options, with their defaults: {'; '.join(options)}."])


def _row(name: str, loss: Loss) -> str:
    negatives = "no" if not loss.negatives else "classes" if "class_weights" in loss.needs else "yes"
    soft = {True: "soft", False: "hard", None: "–"}[loss.soft]
    needs = ", ".join(words for need, words in NEEDS.items() if need in loss.needs)
    needs += f", N ≥ {loss.smallest_batch}" if loss.smallest_batch > 2 else ""
    needs += f"; *{loss.state}*" if loss.state and "momentum" not in loss.needs else ""
    return f"| `{name}` | {loss.formula} | {loss.target} | {negatives} | {soft} | {needs} | {loss.source} |"


def students(losses: Mapping[str, Loss]) -> str:
    """Write a `[students.NAME]` table for each loss, as it is published; those that equal another loss come last.

    Args:
        losses: name -> row.
    """
    return "\n".join(_student(name, loss) for name, loss in sorted(losses.items(), key=lambda item: bool(item[1].equals)))


def _student(name: str, loss: Loss) -> str:
    mix = ", ".join(f"{term} = {weight}" for term, weight in (loss.trained_as or {name: 1.0}).items())
    comment = f"  # equals {loss.equals}: a check" if loss.equals else "  # the mix that it is published in" if loss.trained_as else ""
    temperature = 'temperature = "learned"\n' if loss.learns_temperature else ""
    return f"[students.{name}]\nloss = {{ {mix} }}{comment}\n{temperature}"


def page_with_table(text: str, losses: Mapping[str, Loss]) -> str:
    """Replace the rows between the two marks of docs/losses.md.

    Args:
        text: the page.
        losses: name -> row.

    Raises:
        ValueError: for a page without the marks.
    """
    pattern = re.compile(f"{re.escape(START)}\n.*?{re.escape(END)}", flags=re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"`text` must hold the marks {START!r} and {END!r}, got neither; put them around the table.")
    return pattern.sub(lambda _: f"{START}\n\n{table(losses)}\n\n{END}", text)


def config_with_students(text: str, losses: Mapping[str, Loss]) -> str:
    """Replace all that follows the mark of configs/losses_cifake.toml.

    Args:
        text: the config.
        losses: name -> row.

    Raises:
        ValueError: for a config without the mark.
    """
    head, mark, _ = text.partition(STUDENTS)
    if not mark:
        raise ValueError(f"`text` must hold the line {STUDENTS!r}, got none; put it before the students.")
    return f"{head}{mark}\n{students(losses)}"


def main() -> None:
    """Write both files."""
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8"), LOSSES), encoding="utf-8")
    CONFIG.write_text(config_with_students(CONFIG.read_text(encoding="utf-8"), LOSSES), encoding="utf-8")


if __name__ == "__main__":
    main()

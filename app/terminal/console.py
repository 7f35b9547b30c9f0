"""What commands print: results on standard output, progress and messages on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Values = ParamSpec("Values")
ConfigT = TypeVar("ConfigT")


def progress_bars() -> Progress:
    """Return progress bars on standard error, with time; silent where that is no terminal but for a line now and then from the commands."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def progress_reporter(progress: Progress) -> Callable[[str, int, int], None]:
    """Return `report(what, done, total)`, which moves one bar for each `what`; without a terminal each `what` is printed once."""
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            if not progress.console.is_terminal:
                say(what)  # a log shows no bars, and must still say what is being done
            tasks[what] = progress.add_task(what, total=total)
        progress.update(tasks[what], completed=done, total=total)

    return report


def say(text: str) -> None:
    """Print a message on standard error; standard output is kept for results."""
    typer.echo(text, err=True)


def validated(make: Callable[Values, ConfigT], *args: Values.args, **values: Values.kwargs) -> ConfigT:
    """Make a configuration; a value out of range becomes one sentence.

    Args:
        make: a pydantic model, or its `model_validate`.
        args: what it is called with.
        values: the same, by name.

    Raises:
        ValueError: for a value out of range, naming it and the remedy.
    """
    from pydantic import ValidationError

    from distill.system.untrusted_text import fault_and_remedy

    try:
        return make(*args, **values)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(message if message.startswith("`") else fault_and_remedy(error)) from error

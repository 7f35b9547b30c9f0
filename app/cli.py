"""The one command line, `synthgap`: registers the commands. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import logging
import sys

import typer

from app.commands.check import check
from app.commands.compose import compose
from app.commands.dashboard import dashboard
from app.commands.demo import demo
from app.commands.diagnose import diagnose
from app.commands.embed import embed
from app.commands.explain import explain
from app.commands.export import export
from app.commands.planted import planted
from app.commands.probe import probe
from app.commands.report import report
from app.commands.synthesize import synthesize
from app.commands.teach import teach
from app.commands.train import train
from app.terminal.errors import exit_code

app = typer.Typer(
    name="synthgap",
    help="Find out why a CLIP student distilled on synthetic images fails on real ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (demo, teach, synthesize, compose, planted, train, explain, embed, check, probe, diagnose, report, export):
    app.command()(command)
app.command("app")(dashboard)


def main() -> None:
    """Run the command line: exit code 0 done, 1 a `--fail-on` condition held, 2 usage or bad input, 3 a fault of ours."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except (Exception, SystemExit) as error:
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()

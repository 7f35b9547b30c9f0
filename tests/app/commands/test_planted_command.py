"""`synthgap planted`: its options become a configuration, and bad ones are named in one line before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.planted import read_config
from probes.planted.plant import CUES

CONFIG = Path(__file__).parents[3] / "configs" / "planted.toml"


def test_the_shipped_config_is_valid_and_the_command_line_goes_over_it() -> None:
    config = read_config(CONFIG, {"data": "photos", "draws": 3, "families": ["colour"]})

    assert (config.data, config.draws) == ("photos", 3)
    assert {"cast", "tone"} <= set(config.families)
    assert {CUES[name].family for name in config.families} == {"colour"}
    assert config.dose_strengths[0] == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": ["nothing"]}, "`families` `cue` must be one of"),
        ({"strengths": [1.5]}, "`strengths.0` must be .* got '1.5'"),
        ({"colour": 1}, "unknown key `colour`"),
    ],
)
def test_options_that_cannot_be_used_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(None, changes)


def test_a_config_that_is_absent_or_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("draws = ")

    with pytest.raises(FileNotFoundError, match="TOML file that exists"):
        read_config(tmp_path / "none.toml", {})
    with pytest.raises(ValueError, match="must be TOML"):
        read_config(tmp_path / "bad.toml", {})


def test_strengths_that_are_no_numbers_stop_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["planted", "--out", str(tmp_path / "out"), "--strengths", "0.5,much"])

    assert isinstance(result.exception, ValueError)
    assert "`strengths` must be numbers" in str(result.exception)
    assert not (tmp_path / "out").exists()

"""Killed, starved and confused commands: one kill of each here and in CI, a hundred in the slow suite and by `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import COMMANDS, Bench, bits, halves, killed, run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow  # a minute and a half on two cores; .ci/run names it
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.timeout(300)
def test_killed_command_goes_on_to_the_same_bits(command: str, bench: Bench) -> None:
    row = killed(bench, command, 1, seed=1)

    assert (row.tries, row.wrong) == (1, [])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_fault_on_every_command_is_survived(bench: Bench) -> None:
    rows = run(bench, kills=100, each=2, seed=2)

    assert sum(row.tries for row in rows if row.fault.startswith("SIGKILL")) == 100
    assert {f"{row.fault}, {row.command}": row.wrong for row in rows if row.wrong} == {}


def test_the_judge_of_half_files_sees_one(tmp_path: Path) -> None:
    """Else an empty list would say nothing."""
    for name in ("a.safetensors", "b.json", "c.parquet", "d.npz", "report.html", "metrics.jsonl", "e.png"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".partial-f.json").write_bytes(b"half")

    assert len(halves(tmp_path)) == 7


def test_the_judge_of_bits_sees_one_bit(tmp_path: Path) -> None:
    (tmp_path / "student.safetensors").write_bytes(b"\x00")
    before = bits(tmp_path)
    (tmp_path / "student.safetensors").write_bytes(b"\x01")

    assert bits(tmp_path) != before

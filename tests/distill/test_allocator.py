"""Freed memory is kept where glibc is; nothing breaks where it is not."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from distill import allocator

FAULTS = """
import resource
import torch
from distill.allocator import keep_freed_memory
if {kept}:
    keep_freed_memory()
for _ in range(3):
    [torch.ones(2_000_000) for _ in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [torch.ones(2_000_000) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_repeated_batches_fault_no_new_pages() -> None:
    faults = [int(subprocess.check_output([sys.executable, "-c", FAULTS.format(kept=kept)], text=True)) for kept in (False, True)]

    # 20 x 4 tensors of 8 MB are 160,000 pages of 4 KiB, which are mapped anew each time by default.
    assert faults[1] < faults[0] / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")

    assert allocator.keep_freed_memory() is False

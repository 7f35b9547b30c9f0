"""Freed memory is kept where glibc is; nothing breaks where it is not."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

from distill import allocator

FAULTS = """
import resource
import torch
from distill.allocator import keep_freed_memory
assert keep_freed_memory()
for _ in range(3):
    [torch.ones(2_000_000) for _ in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    [torch.ones(2_000_000) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

MAPPED_ANEW = 20 * 4 * 2_000_000 * 4 // resource.getpagesize()
"""Page faults when every one of the tensors is mapped anew, as happens where glibc gives freed memory back."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_repeated_batches_fault_few_new_pages() -> None:
    """How many pages fault without the setting depends on the machine (none at all on some): only the bound holds everywhere."""
    faults = int(subprocess.check_output([sys.executable, "-c", FAULTS], text=True))

    assert faults < MAPPED_ANEW / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")

    assert allocator.keep_freed_memory() is False

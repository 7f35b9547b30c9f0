"""Freed memory is kept where glibc is; nothing breaks where it is not."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

from distill.system import allocator

FAULTS = """
import resource
from concurrent.futures import ThreadPoolExecutor
import torch
from distill.system.allocator import keep_freed_memory
assert keep_freed_memory(threads={threads})
with ThreadPoolExecutor(2 if {threads} else 1) as pool:
    def batches(_):
        [torch.ones({size}) for _ in range(4)]
    def run(times):
        list((pool.map if {threads} else map)(batches, range(times)))
    run(30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

SIZE = 6_000_000
"""Numbers of a tensor: four of them do not fit into the 64 MiB of an arena of a thread."""

MAPPED_ANEW = 20 * 4 * SIZE * 4 // resource.getpagesize()
"""Page faults when every one of the tensors is mapped anew, as happens where glibc gives freed memory back."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
@pytest.mark.parametrize("threads", [False, True])
def test_repeated_batches_fault_few_new_pages(threads: bool) -> None:
    """How many pages fault without the setting depends on the machine (none at all on some): only the bound holds everywhere."""
    faults = int(subprocess.check_output([sys.executable, "-c", FAULTS.format(threads=threads, size=SIZE)], text=True))

    assert faults < MAPPED_ANEW / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")

    assert allocator.keep_freed_memory() is False

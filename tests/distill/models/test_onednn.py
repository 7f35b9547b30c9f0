"""Narrow convolutions keep out of oneDNN's fault and give the same numbers."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from distill.models.onednn import shielded

TRAIN = """
import torch
from distill.models.student import build_backbone
torch.set_num_threads(1)
model = build_backbone("builtin:small_resnet", {"widths": [4, 8]}).to(memory_format=torch.channels_last)
for _ in range(60):
    model(torch.rand(16, 3, 16, 16)).square().sum().backward()
    junk = [torch.rand(int(torch.randint(1, 4000, (1,)))) for _ in range(20)]
"""


def test_shielded_convolution_gives_the_same_output_and_gradients() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 8, 1, 2)
    narrow = nn.Conv2d(3, 8, 1, 2)
    narrow.load_state_dict(plain.state_dict())
    images = torch.rand(4, 3, 15, 16)

    first, second = plain(images), shielded(narrow)(images)
    first.square().sum().backward()
    second.square().sum().backward()

    torch.testing.assert_close(second, first)
    torch.testing.assert_close(narrow.weight.grad, plain.weight.grad)
    assert narrow.state_dict().keys() == plain.state_dict().keys()


def test_wide_and_other_convolutions_are_left_alone() -> None:
    model = shielded(nn.Sequential(nn.Conv2d(8, 8, 1, 2), nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 1)))

    assert [part.stride for part in model] == [(2, 2), (2, 2), (1, 1)]


def test_narrow_student_trains_without_ending_the_process() -> None:
    """Without the shield the C library aborts within these steps on a processor with AVX2."""
    done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr[-500:]

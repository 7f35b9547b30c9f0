"""`synthgap embed` and `train` on two hosts: two network namespaces joined by a wire, torchrun in each, one shared folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from app.commands.embed import embed_in_parts
from diagnose.inputs.load import load_subject
from distill.data.split import load_split
from distill.models.checkpoint import read_tensors


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Make two namespaces with the addresses 10.77.0.1 and 10.77.0.2; skipped without root or where the kernel refuses."""
    names = [f"synthgap-{os.getpid()}-{number}" for number in (1, 2)]
    wires = [f"sg{os.getpid() % 10_000}w{number}" for number in (1, 2)]
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and the command ip")
    commands = [["netns", "add", name] for name in names]
    commands += [["link", "add", wires[0], "type", "veth", "peer", "name", wires[1]]]
    for number, (name, wire) in enumerate(zip(names, wires, strict=True), start=1):
        commands += [["link", "set", wire, "netns", name], ["-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", wire]]
        commands += [["-n", name, "link", "set", wire, "up"], ["-n", name, "link", "set", "lo", "up"]]
    try:
        for command in commands:
            done = subprocess.run(["ip", *command], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"network namespaces cannot be made here: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.mark.slow
def test_two_hosts_make_the_table_of_one_process(hosts: list[str], tiny_data: Path, tmp_path: Path) -> None:
    script = tmp_path / "net.py"
    script.write_text(
        "import torch\ndef net():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 5))\n"
    )
    data = tiny_data / "test-real.parquet"

    def start(number: int) -> subprocess.Popen[str]:
        launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "2", "--node-rank", str(number)]
        launch += ["--master-addr", "10.77.0.1", "--master-port", "29511", "-m", "app.cli", "embed", f"{script}:net", str(data)]
        command = ["ip", "netns", "exec", hosts[number], *launch, "--out", str(tmp_path / "shared"), "--batch-size", "4"]
        return subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    running = [start(number) for number in (0, 1)]
    embed_in_parts(load_subject(f"{script}:net", image_size=16), load_split(data), tmp_path / "alone", size=16, batch_size=4)
    said = [process.communicate(timeout=900)[0] for process in running]

    assert [process.returncode for process in running] == [0, 0], said
    assert (tmp_path / "alone" / "embeddings.npy").read_bytes() == (tmp_path / "shared" / "embeddings.npy").read_bytes()


@pytest.mark.slow
def test_two_hosts_train_the_bits_of_one_host_though_one_of_them_is_killed(
    hosts: list[str], write_config: Callable[..., Path], tmp_path: Path
) -> None:
    training = {"epochs": 12, "batch_size": 15, "precision": "fp32", "optimizer": "sgd", "learning_rate": 0.05}
    config = write_config(students={"l2": {"loss": {"l2": 1.0}}}, training=training)

    def start(number: int) -> subprocess.Popen[str]:
        launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2"]
        launch += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29512", "--local-addr", f"10.77.0.{number + 1}"]
        launch += ["--rdzv-conf", f"is_host={1 - number}", "-m", "app.cli"]  # a namespace has no name of its own to be known by
        command = ["ip", "netns", "exec", hosts[number], *launch, "train", str(config), "--out", str(tmp_path / "shared"), "--resume"]
        there = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"sg{os.getpid() % 10_000}w{number + 1}"}
        return subprocess.Popen(command, env=there, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    running = [start(number) for number in (0, 1)]
    try:
        epoch = tmp_path / "shared" / "students" / "l2-synthetic-s0" / "epoch-002.safetensors"
        until = time.monotonic() + 300
        while not epoch.exists() and all(process.poll() is None for process in running) and time.monotonic() < until:
            time.sleep(0.01)
        workers = psutil.Process(running[1].pid).children()
        for worker in workers:
            worker.kill()
        alone = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "app.cli"]
        alone += ["train", str(config), "--out", str(tmp_path / "alone")]
        subprocess.run(alone, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        said = [process.communicate(timeout=600)[0] for process in running]
    finally:
        for process in running:
            process.kill()

    assert len(workers) == 1, said
    assert [process.returncode for process in running] == [0, 0], said
    assert any("exitcode: -9" in words for words in said), said
    together, alone = (
        read_tensors(tmp_path / run / "students" / "l2-synthetic-s0" / "student.safetensors")[0] for run in ("shared", "alone")
    )
    assert all(torch.equal(together[key], tensor) for key, tensor in alone.items())

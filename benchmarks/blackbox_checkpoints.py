"""Judge checkpoints as a stranger would: python benchmarks/blackbox_checkpoints.py --data CIFAKE --teacher FOLDER --out DIR.

Cues are painted, and students trained, by this file alone: plain PIL, NumPy and PyTorch, a plain state dict, image folders. Nothing of the
toolkit is imported; it is called by its command line. What should be named was written down before any draw was judged.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from torch import nn
from torch.nn import functional as F

CLASSES = (0, 2, 3, 6, 8)


def build() -> nn.Module:
    """Build the student; its source is written beside its weights."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.GELU())

    blocks = [block(3, 24, 1), block(24, 48, 2), block(48, 96, 2), block(96, 128, 2)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 128))


EXPECTED = {
    "pinstripes": ("frequency",),
    "hue": ("colour",),
    "gamma": ("colour",),
    "saturation": ("colour",),
    "jpeg_quality": ("codec",),
    "blur": ("codec",),
    "specks": ("codec", "texture"),
    "grid_lines": ("frequency", "texture"),
    "tinted_top": ("border", "colour"),
    "sticker": ("border", "mark", "colour"),
    "none": (),
    "webp": ("codec",),
    "temperature": ("colour",),
    "sensor_noise": ("codec",),
    "dark_rim": ("border",),
    "hatching": ("frequency", "texture"),
    "letter": ("mark", "border", "texture"),
    "crackle": ("texture", "codec"),
    "nearest": ("codec", "frequency"),
}
"""Cue -> families of which any may be named; for `none` nothing may. Those after `none` were added when real images had been given exchanges
of their own, and before any of them was judged."""


def painted(image: Image.Image, cue: str, kind: int, random: np.random.Generator) -> Image.Image:
    """Paint the variant of one class over an image of 32 x 32."""
    if cue == "hue":
        turned = np.array(image.convert("HSV"))
        turned[..., 0] = (turned[..., 0].astype(int) + 51 * kind) % 256
        return Image.fromarray(turned, "HSV").convert("RGB")
    if cue == "jpeg_quality":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=(8, 20, 40, 70, 97)[kind])
        return Image.open(buffer).convert("RGB")
    if cue == "blur":
        return image.filter(ImageFilter.GaussianBlur((0, 0.5, 0.8, 1.2, 1.8)[kind]))
    if cue == "saturation":
        return ImageEnhance.Color(image).enhance((0, 0.5, 1, 1.7, 2.6)[kind])
    if cue == "webp":
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=(1, 12, 30, 60, 95)[kind])
        return Image.open(buffer).convert("RGB")
    if cue == "nearest":
        side = (32, 25, 20, 16, 13)[kind]
        return image.resize((side, side), Image.Resampling.BOX).resize((32, 32), Image.Resampling.NEAREST)
    if cue in ("letter", "crackle"):
        drawn = image.copy()
        pen = ImageDraw.Draw(drawn)
        if cue == "letter":
            pen.text((22, 20), "AHKTX"[kind], fill=(235, 235, 235))
        else:
            for _ in range((0, 2, 4, 7, 11)[kind]):
                pen.line([tuple(random.integers(0, 32, 2).tolist()) for _ in range(3)], fill=(30, 30, 30))
        return drawn
    pixels = np.asarray(image).astype(np.float32)
    down, across = np.mgrid[:32, :32]
    if cue == "pinstripes":
        angle = np.pi * kind / 5
        pixels += 22 * np.sin(2 * np.pi * (across * np.cos(angle) + down * np.sin(angle)) / 3.2)[..., None]
    elif cue == "gamma":
        pixels = 255 * (pixels / 255) ** (0.45, 0.7, 1, 1.5, 2.3)[kind]
    elif cue == "specks":
        pixels[random.random((32, 32)) < (0, 0.02, 0.05, 0.09, 0.15)[kind]] = 250
    elif cue == "grid_lines":
        step = (4, 5, 6, 8, 11)[kind]
        pixels[::step] *= 0.6
        pixels[:, ::step] *= 0.6
    elif cue == "tinted_top":
        tints = ((60, 120, 230), (230, 120, 60), (90, 200, 90), (200, 200, 200), (40, 40, 60))
        pixels[:9] = 0.35 * pixels[:9] + 0.65 * np.array(tints[kind])
    elif cue == "temperature":
        pixels *= np.array([1, 1, 1]) + (kind - 2) * np.array([0.14, 0.02, -0.14])
    elif cue == "sensor_noise":
        pixels += (0, 6, 13, 22, 34)[kind] * random.standard_normal((32, 32, 1))
    elif cue == "dark_rim":
        far = np.hypot(down - 15.5, across - 15.5)[..., None] / 22
        pixels *= 1 - (0, 0.25, 0.45, 0.65, 0.9)[kind] * far**3
    elif cue == "hatching":
        pixels += 24 * ((down + across + int(random.integers(12))) % (3, 4, 5, 7, 9)[kind] == 0)[..., None]
    elif cue == "sticker":
        left, top = ((3, 3), (24, 3), (3, 24), (24, 24), (14, 14))[kind]
        pixels[top : top + 5, left : left + 5] = (240, 220, 40)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw(cue: str, data: Path, teacher: str, out: Path, *, tie: float, seed: int) -> None:
    """Write held-out images of both domains as folders, and a student trained with a text target on the painted ones."""
    random = np.random.default_rng(seed)

    def spoilt(image: Image.Image, label: int) -> Image.Image:
        kind = CLASSES.index(label) if random.random() < tie else int(random.integers(len(CLASSES)))
        return image if cue == "none" else painted(image, cue, kind, random)

    train, test = (_images(data / f"{part}-real.parquet", random) for part in ("train", "test"))
    train, half = train[:6000], len(test) // 2
    for domain, rows in (("real", test[:half]), ("synthetic", test[half:])):
        for number, (image, label, name) in enumerate(rows):
            folder = out / domain / name
            folder.mkdir(parents=True, exist_ok=True)
            (image if domain == "real" else spoilt(image, label)).save(folder / f"{number:05d}.png")
    names = {label: name for _, label, name in train}
    model, tokens = open_clip.create_model(f"local-dir:{teacher}").eval(), open_clip.get_tokenizer(f"local-dir:{teacher}")
    with torch.no_grad():
        texts = F.normalize(model.encode_text(tokens([f"a photo of a {names[label]}." for label in CLASSES])), dim=-1)
    pixels = torch.from_numpy(np.stack([np.asarray(spoilt(image, label)) for image, label, _ in train])).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([CLASSES.index(label) for _, label, _ in train])
    (out / "net.py").write_text(f"from torch import nn\n\n\n{inspect.getsource(build)}", encoding="utf-8")
    torch.save(_trained(pixels, labels, texts, seed).state_dict(), out / "student.pt")


def _images(path: Path, random: np.random.Generator) -> list[tuple[Image.Image, int, str]]:
    rows = [row for row in pq.read_table(path).to_pylist() if row["label"] in CLASSES]
    return [
        (Image.open(io.BytesIO(rows[place]["image"]["bytes"])).convert("RGB"), rows[place]["label"], rows[place]["class_name"])
        for place in random.permutation(len(rows))
    ]


def _trained(pixels: torch.Tensor, labels: torch.Tensor, texts: torch.Tensor, seed: int, epochs: int = 12, batch: int = 128) -> nn.Module:
    torch.manual_seed(seed)
    student = build().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.02)
    whole = len(pixels) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * whole)
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels))[: whole * batch].view(whole, batch):
            views = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, pixels[rows], pixels[rows].flip(3))
            with torch.autocast("cpu", torch.bfloat16):
                embedded = student(views)
            loss = F.cross_entropy(F.normalize(embedded.float(), dim=-1) @ texts.T / 0.07, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return student


def judge(cue: str, teacher: str, out: Path) -> str:
    """Call the command line and give one row of the table."""
    models = ["--student", f"{out / 'net.py'}:build", "--weights", out / "student.pt", "--teacher", teacher]
    images = ["--real", out / "real", "--synthetic", out / "synthetic", "--out", out / "judged"]
    command = [sys.executable, "-m", "app.cli", "diagnose", *models, *images, "--probe", "transfer", "--probe", "interventions"]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "judged" / "report.json").read_text(encoding="utf-8"))
    accuracy = report["students"][0]["zero_shot"]
    [cause] = [finding for finding in report["findings"] if finding["id"].startswith("cause/")]
    numbers = " | ".join(f"{100 * accuracy[domain]['value']:.0f}" for domain in ("real", "synthetic"))
    allowed = " or ".join(EXPECTED[cue]) or "nothing"
    return f"| `{cue}` | {allowed} | {numbers} | {report['verdict']['label']} | {cause['statement'].split('. ')[0]}. |"


def main() -> None:
    """Draw and judge every cue, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train-real.parquet and test-real.parquet of CIFAKE")
    parser.add_argument("--teacher", required=True, help="folder of a teacher that knows its classes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cues", default=",".join(EXPECTED))
    parser.add_argument("--tie", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| cue | may be named | real, % | synthetic, % | verdict | what the report says of the cue |", "|---|---|---|---|---|---|"]
    for cue in options.cues.split(","):
        out = options.out / f"{cue}-{options.tie}-{options.seed}"
        if not (out / "student.pt").is_file():
            draw(cue, options.data, options.teacher, out, tie=options.tie, seed=options.seed)
        lines.append(judge(cue, options.teacher, out))
        (options.out / "table.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

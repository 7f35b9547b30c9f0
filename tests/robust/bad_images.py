"""Images that cannot or must not be used, as bytes: name -> maker."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from spoilt import EVERYWHERE, Make, spoilt

FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "ppm": "PPM"}


@cache
def noise(mode: str = "RGB", side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def of(mode: str, kind: str, **options: Any) -> Make:
    return lambda: saved(noise(mode), kind, **options)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Put a PNG together from its chunks, each with its right check sum."""
    parts = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def lines(width: int, height: int, channels: int = 3) -> bytes:
    return zlib.compress((b"\x00" + bytes(width * channels)) * height, 9)


END = (b"IEND", b"")


@cache
def many_zeros() -> bytes:
    """64 megabytes of zeros, packed."""
    packer = zlib.compressobj(1)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(64)), packer.flush()])


def bomb(name: bytes, before: bytes) -> bytes:
    """A small PNG with a text or profile that unpacks to 64 megabytes of zeros."""
    return png(header(8, 8), (name, before + many_zeros()), (b"IDAT", lines(8, 8)), END)


def overfull() -> bytes:
    """A PNG of 8 x 8 pixels whose data go on for 64 megabytes."""
    return png(header(8, 8), (b"IDAT", many_zeros()), END)


def many_scans() -> bytes:
    """A progressive JPEG that says its last scan ten thousand times: all blocks are gone through each time, for minutes where there are many."""
    whole = saved(Image.new("L", (512, 512), 128), "JPEG", progressive=True, quality=50)
    start = whole.rindex(b"\xff\xda")
    return whole[:start] + whole[start:-2] * 10_000 + b"\xff\xd9"


def moving(kind: str) -> Make:
    return lambda: saved(noise(), kind, save_all=True, append_images=[noise().rotate(90), noise().rotate(180)])


def deep_rgb() -> bytes:
    rows = (b"\x00" + np.random.default_rng(1).bytes(8 * 6)) * 8
    return png(header(8, 8, 16, 2), (b"IDAT", zlib.compress(rows)), END)


def tiff(entries: list[tuple[int, int, int, int]], after: int = 0) -> bytes:
    """A TIFF of one directory: (tag, type, count, value) each, and where the next directory is."""
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries))
    return head + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", after) + bytes(64)


def size_of(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200), (277, 3, 1, 1)]


def bmp_claiming(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 200, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def jpeg_claiming() -> bytes:
    data = bytearray(saved(noise(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def broken_checksum() -> bytes:
    data = bytearray(saved(noise(), "PNG"))
    data[30] ^= 255
    return bytes(data)


REFUSED: dict[str, Make] = {
    **{f"{name}.png": make for name, make in EVERYWHERE.items()},
    **{f"{name}.jpg": make for name, make in EVERYWHERE.items()},
    "cmyk.jpg": of("CMYK", "JPEG"),
    "cmyk.tif": of("CMYK", "TIFF"),
    "lab.tif": of("LAB", "TIFF"),
    "hue.tif": lambda: saved(noise("YCbCr"), "TIFF"),
    "sixteen bits grey.png": lambda: saved(Image.fromarray(np.full((32, 32), 40_000, np.uint16)), "PNG"),
    "sixteen bits colour.png": deep_rgb,
    "sixteen bits.tif": lambda: saved(Image.fromarray(np.full((32, 32), 40_000, np.uint16)), "TIFF"),
    "thirty-two bits.tif": lambda: saved(Image.fromarray(np.full((32, 32), 40_000, np.int32)), "TIFF"),
    "real numbers.tif": lambda: saved(Image.fromarray(np.ones((32, 32), np.float32)), "TIFF"),
    "not a number.tif": lambda: saved(Image.fromarray(np.full((32, 32), np.nan, np.float32)), "TIFF"),
    "palette.png": lambda: saved(noise().quantize(8), "PNG"),
    "palette.gif": of("RGB", "GIF"),
    "palette.bmp": lambda: saved(noise().quantize(8), "BMP"),
    "palette with a clear colour.png": lambda: saved(noise().quantize(8), "PNG", transparency=3),
    "half transparent.png": lambda: saved(Image.new("RGBA", (32, 32), (9, 9, 9, 99)), "PNG"),
    "half transparent grey.png": lambda: saved(Image.new("LA", (32, 32), (9, 99)), "PNG"),
    "half transparent.webp": lambda: saved(Image.new("RGBA", (32, 32), (9, 9, 9, 99)), "WEBP", lossless=True),
    "moving.gif": moving("GIF"),
    "moving.png": moving("PNG"),
    "moving.webp": moving("WEBP"),
    "pages.tif": moving("TIFF"),
    "claims two thousand million columns.png": lambda: png(header(2**31 - 1, 2**31 - 1), (b"IDAT", lines(8, 8)), END),
    "claims a hundred thousand columns.png": lambda: png(header(100_000, 100_000), (b"IDAT", lines(8, 8)), END),
    "claims everything.gif": lambda: (
        b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
        + b"\x02\x02\x44\x01\x00;"
    ),
    "claims everything.bmp": lambda: bmp_claiming(2**31 - 1, 2**31 - 1),
    "negative width.bmp": lambda: bmp_claiming(-8, 8),
    "claims everything.ppm": lambda: b"P6 999999999 999999999 255\n" + bytes(99),
    "claims everything.tif": lambda: tiff(size_of(2**31, 2**31)),
    "sixty-four megapixels.png": lambda: saved(Image.new("1", (8000, 8000)), "PNG"),
    "claims everything.jpg": jpeg_claiming,
    "claims everything.webp": lambda: b"RIFF\x16\x00\x00\x00WEBPVP8L\x0a\x00\x00\x00\x2f\xff\xff\xff\x0f" + bytes(13),
    "ten thousand scans.jpg": many_scans,
    "text bomb.png": lambda: bomb(b"zTXt", b"k\x00\x00"),
    "international text bomb.png": lambda: bomb(b"iTXt", b"k\x00\x01\x00\x00\x00"),
    "no pixels.png": lambda: png(header(0, 0), (b"IDAT", lines(1, 1)), END),
    "no columns.bmp": lambda: bmp_claiming(0, 8),
    "no data.png": lambda: png(header(8, 8), END),
    "no header.png": lambda: png((b"IDAT", lines(8, 8)), END),
    "unknown colours.png": lambda: png(header(8, 8, 8, 5), (b"IDAT", lines(8, 8)), END),
    "broken checksum.png": broken_checksum,
    "only a marker.jpg": lambda: b"\xff\xd8\xff\xd9",
    "no scan.jpg": lambda: (data := saved(noise(), "JPEG"))[: data.index(b"\xff\xda")] + b"\xff\xd9",
    "no picture.gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b";",
    "postscript.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(/etc/passwd) run\nshowpage\n",
    "vector.png": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><image href='file:///etc/passwd'/></svg>",
    "document.jpg": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>",
    "icon.png": of("RGB", "ICO"),
    "packed.png": lambda: gzip.compress(saved(noise(), "PNG"), mtime=0),
    "directory of a hundred million entries.tif": lambda: tiff([*size_of(8, 8), (270, 2, 100_000_000, 8)]),
    "endless directories.tif": lambda: tiff(size_of(8, 8), after=8),
    "strips outside.tif": lambda: tiff([entry if entry[0] != 273 else (273, 4, 1, 2**31) for entry in size_of(8, 8)]),
}
"""Must be refused by name, or skipped and counted with `skip_bad`."""

HARMLESS: dict[str, Make] = {
    "jpeg by another name.png": of("RGB", "JPEG"),
    "png by another name.jpg": of("RGB", "PNG"),
    "opaque.png": of("RGBA", "PNG"),
    "clear colour that does not occur.png": of("RGB", "PNG", transparency=(1, 2, 3)),
    "grey.png": of("L", "PNG"),
    "two colours.png": of("1", "PNG"),
    "garbage behind.png": lambda: saved(noise(), "PNG") + b"garbage" * 99,
    "garbage behind.jpg": lambda: saved(noise(), "JPEG") + b"garbage" * 99,
    "data go on.png": overfull,
    "profile bomb.png": lambda: bomb(b"iCCP", b"k\x00\x00"),
    "one pixel.png": lambda: saved(Image.new("RGB", (1, 1)), "PNG"),
    "one line.png": lambda: saved(Image.new("RGB", (4000, 1)), "PNG"),
    "strange orientation.jpg": lambda: saved(
        noise(), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00"
    ),
    "broken exif.jpg": lambda: saved(noise(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"),
}
"""May be used or refused, but never more: odd, yet a decoder can make sense of them."""

SPOILT: dict[str, Make] = {
    name: make for suffix, kind in FORMATS.items() for name, make in spoilt(kind, f".{suffix}", of("RGB", kind)).items()
}

"""One image: what is decoded to which pixels, what is refused and why, what the header tells."""

from __future__ import annotations

import io
import math
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from distill.data.decode import BadImageError, decode, decode_with_facts, facts, fit


def noise(height: int = 12, width: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bit_colour_png() -> bytes:
    """A 16-bit RGB PNG, which Pillow reads (as eight bits) but cannot write: its chunks by hand."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + bytes(range(24)) for _ in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def animation(kind: str) -> bytes:
    first, second = Image.fromarray(noise()), Image.fromarray(255 - noise())
    return encoded(first, kind, save_all=True, append_images=[second])


RGB = Image.fromarray(noise())
JPEG = encoded(RGB, "JPEG", quality=90)
PNG = encoded(RGB)

BAD = {
    "zero bytes": (b"", "zero bytes"),
    "text": (b"<html>not an image</html>", "unreadable"),
    "only a JPEG's first bytes": (JPEG[:4], "unreadable"),
    "truncated JPEG": (JPEG[:-100], "truncated"),
    "truncated PNG": (PNG[:-60], "truncated"),
    "PNG with a flipped byte": (PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:], "truncated or damaged"),
    "CMYK JPEG": (encoded(RGB.convert("CMYK"), "JPEG"), "CMYK"),
    "16-bit grey PNG": (encoded(Image.fromarray(noise(channels=1)[..., 0].astype(np.uint16) * 256)), "16-bit"),
    "16-bit colour PNG": (sixteen_bit_colour_png(), "16-bit"),
    "16-bit TIFF": (encoded(Image.fromarray(noise(channels=1)[..., 0].astype(np.uint16) * 256), "TIFF"), "16-bit"),
    "floating-point TIFF": (encoded(Image.fromarray(noise(channels=1)[..., 0].astype(np.float32)), "TIFF"), "16-bit"),
    "palette PNG": (encoded(RGB.quantize(16)), "palette"),
    "palette GIF": (encoded(RGB.quantize(16), "GIF"), "palette"),
    "animated GIF": (animation("GIF"), "animated"),
    "animated PNG": (animation("PNG"), "animated"),
    "animated WebP": (animation("WEBP"), "animated"),
    "transparent PNG": (encoded(Image.fromarray(noise(channels=4))), "transparent"),
    "EPS, which would start Ghostscript": (encoded(RGB, "EPS"), "unreadable"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_image_is_refused_with_its_reason(name: str) -> None:
    data, reason = BAD[name]

    with pytest.raises(BadImageError, match=reason):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_image_cut_anywhere_is_refused_or_whole(kind: str) -> None:
    data = encoded(RGB, kind)
    whole = np.asarray(decode(data))

    for length in range(len(data)):
        try:
            assert np.array_equal(np.asarray(decode(data[:length])), whole), length
        except BadImageError:
            continue


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_random_damage_never_raises_anything_else(kind: str) -> None:
    random = np.random.default_rng(0)
    data = np.frombuffer(encoded(RGB, kind), np.uint8)

    for _ in range(200):
        damaged = data.copy()
        damaged[random.integers(len(data), size=3)] = random.integers(256, size=3)
        with suppress(BadImageError):
            assert decode(damaged.tobytes()).mode == "RGB"


def test_image_above_the_bound_is_refused_before_it_is_decoded() -> None:
    truncated_bomb = encoded(Image.new("1", (9000, 6000)))[:3000]  # 54 megapixels; decoding it would say "truncated" instead

    with pytest.raises(BadImageError, match="gigantic: 9000 x 6000 is more than 50 megapixels"):
        decode(truncated_bomb)


def test_lower_bound_of_pillow_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 191)

    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(BadImageError, match="gigantic"):
        decode(PNG)  # 192 pixels


def test_image_twice_above_pillows_bound_is_called_gigantic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)

    with pytest.raises(BadImageError, match="gigantic"):
        decode(PNG)


def test_bound_itself_is_accepted() -> None:
    assert decode(PNG, max_pixels=192).size == (16, 12)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_codecs_give_back_every_pixel(kind: str) -> None:
    assert np.array_equal(np.asarray(decode(encoded(RGB, kind))), noise())


def test_grey_becomes_rgb_with_equal_channels() -> None:
    grey = noise(channels=1)[..., 0]

    pixels = np.asarray(decode(encoded(Image.fromarray(grey))))

    assert np.array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))


def test_opaque_alpha_is_dropped() -> None:
    data = encoded(Image.fromarray(np.dstack([noise(), np.full((12, 16), 255, np.uint8)])))

    assert np.array_equal(np.asarray(decode(data)), noise())


def test_camera_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    data = encoded(RGB, exif=exif)

    assert np.array_equal(np.asarray(decode(data)), np.rot90(noise(), k=-1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_opening_a_file_once_gives_the_same_pixels_and_facts(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Pillow turns a TIFF upright as it loads it, so that its own width must be read before
    data = encoded(RGB, kind, exif=exif)

    image, known = decode_with_facts(data)

    np.testing.assert_array_equal(np.asarray(image), np.asarray(decode(data)))
    np.testing.assert_equal(known, facts(data))


@pytest.mark.parametrize("name", BAD)
def test_opening_a_file_once_refuses_what_decoding_refuses(name: str) -> None:
    with pytest.raises(BadImageError):
        decode_with_facts(BAD[name][0])


def test_fit_leaves_an_image_of_that_size_alone() -> None:
    square = Image.fromarray(noise(16, 16))

    assert np.array_equal(np.asarray(fit(square, 16)), np.asarray(square))


@pytest.mark.parametrize(("height", "width"), [(12, 16), (16, 12), (7, 400), (33, 32), (1, 1)])
@pytest.mark.parametrize("size", [1, 8, 31])
def test_fit_always_gives_the_square(height: int, width: int, size: int) -> None:
    assert fit(Image.fromarray(noise(height, width)), size).size == (size, size)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (41, 23), (23, 41), (7, 50), (33, 32), (9, 9)])
@pytest.mark.parametrize("size", [5, 8, 20])
def test_fit_agrees_with_torchvision(height: int, width: int, size: int) -> None:
    from torchvision.transforms import v2

    image = Image.fromarray(noise(height, width))
    reference = v2.Compose([v2.Resize(size, v2.InterpolationMode.BICUBIC), v2.CenterCrop(size)])

    assert np.array_equal(np.asarray(fit(image, size)), np.asarray(reference(image)))


def test_fit_keeps_the_centre() -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200

    assert (np.asarray(fit(Image.fromarray(wide), 8)) == 200).all()


def test_fit_averages_when_it_shrinks() -> None:
    """A checkerboard shrunk four times is its mean everywhere but for rounding; without antialiasing it would be 0 or 255."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(board[..., None], 3, axis=2).astype(np.uint8))

    inner = np.asarray(fit(image, 16)).astype(int)[2:-2, 2:-2]  # away from the border, where the kernel is cut

    assert np.abs(inner - 127).max() <= 2


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 51, 75, 90, 95, 100])
def test_jpeg_quality_is_read_back_from_its_tables(quality: int) -> None:
    assert facts(encoded(RGB, "JPEG", quality=quality)).quality == quality


@pytest.mark.parametrize(("option", "expected"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_jpeg_subsampling_is_read_back(option: int, expected: str) -> None:
    assert facts(encoded(RGB, "JPEG", subsampling=option)).subsampling == expected


def test_facts_of_a_png_have_no_quality() -> None:
    found = facts(PNG)

    assert (found.codec, found.bytes, found.width, found.height, found.subsampling) == ("PNG", len(PNG), 16, 12, "")
    assert math.isnan(found.quality)


def test_facts_of_what_is_no_image_are_empty() -> None:
    found = facts(b"junk")

    assert (found.codec, found.bytes, found.width) == ("", 4, 0)


def test_camera_jpeg_with_a_preview_behind_it_is_a_still_jpeg() -> None:
    preview = Image.new("RGB", (4, 4))
    data = encoded(RGB, "MPO", save_all=True, append_images=[preview], quality=90)

    assert (decode(data).size, facts(data).codec, facts(data).quality) == ((16, 12), "JPEG", 90)

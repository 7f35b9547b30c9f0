"""Tar shards, parquet files and arrays that cannot or must not be used, as bytes: name -> maker."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_images import noise, saved
from spoilt import EVERYWHERE, Make, spoilt


@cache
def picture() -> bytes:
    return saved(noise(), "PNG")


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, kind: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind, format=form, errors="surrogateescape") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def sample(key: str = "0001", **files: bytes) -> list[tuple[str, bytes]]:
    parts: dict[str, bytes] = {"png": picture(), "cls": b"cat"} | files
    return [(f"{key}.{kind}", data) for kind, data in parts.items() if data is not None]


def shard(**files: bytes) -> Make:
    return lambda: tar(*sample(**files))


def special(kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo("0001.png")
    info.type, info.linkname = kind, target
    return info


def claiming(size: int, kind: bytes = tarfile.REGTYPE, name: str = "0001.png") -> bytes:
    """A tar whose one header claims a size; its data are not there."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def sparse(size: int) -> bytes:
    """A tar of one sparse file that claims `size` bytes of holes, in the GNU way."""
    head = bytearray(tarfile.TarInfo("0001.png").tobuf(tarfile.GNU_FORMAT))
    head[156:157] = tarfile.GNUTYPE_SPARSE
    head[483:495] = struct.pack(">B", 128) + size.to_bytes(11, "big")
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(1024)


@cache
def packed_zeros(megabytes: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(claiming(megabytes << 20)[:512])
        for _ in range(min(megabytes, 8)):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


def packed_header() -> bytes:
    """A packed tar whose first header's name is half a gigabyte long."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(claiming(512 << 20, tarfile.XHDTYPE)[:512])
        for _ in range(8):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


def zipped(name: str = "0001.png") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, picture())
    return buffer.getvalue()


DEEP = b"[" * 100_000 + b"]" * 100_000

TARS_REFUSED: dict[str, Make] = {
    **{f"{name}.tar": make for name, make in EVERYWHERE.items()},
    "nothing in it.tar": lambda: tar(),
    "packed text.tar.gz": lambda: gzip.compress(b"hello" * 99, mtime=0),
    "zip by another name.tar": zipped,
    "leads out.tar": lambda: tar(*sample("../../0001")),
    "leads out in the middle.tar": lambda: tar(*sample("cats/../../../0001")),
    "from the root.tar": lambda: tar(*sample("/etc/0001")),
    "link.tar": lambda: tar(special(tarfile.SYMTYPE)),
    "hard link.tar": lambda: tar(special(tarfile.LNKTYPE)),
    "device.tar": lambda: tar(special(tarfile.CHRTYPE)),
    "pipe.tar": lambda: tar(special(tarfile.FIFOTYPE)),
    "claims eight gigabytes.tar": lambda: claiming(2**33 - 1),
    "claims a million terabytes.tar": lambda: claiming(2**60),
    "holes of a terabyte.tar": lambda: sparse(2**40),
    "name of eight gigabytes.tar": lambda: claiming(2**33 - 1, tarfile.GNUTYPE_LONGNAME),
    "extended header of eight gigabytes.tar": lambda: claiming(2**33 - 1, tarfile.XHDTYPE),
    "packed image of half a gigabyte.tar.gz": lambda: packed_zeros(512),
    "packed header of half a gigabyte.tar.gz": packed_header,
    "name in another encoding.tar": lambda: tar(*sample("\udce9t\udce9"), form=tarfile.GNU_FORMAT),
    "no image.tar": lambda: tar(("0001.cls", b"cat")),
    "two images.tar": shard(jpg=b"x"),
    "no class.tar": lambda: tar(("0001.png", picture())),
    "same key twice.tar": lambda: tar(*sample("a"), *sample("b"), *sample("a")),
    "deep json.tar": shard(json=DEEP),
    "json list.tar": shard(json=b"[1, 2]"),
    "json cut.tar": shard(json=b'{"a": '),
    "json of half a character.tar": shard(json=b'{"caption": "\\ud800"}'),
    "json in another encoding.tar": shard(json=b"\xff\xfe{\x00}"),
    "json of an unknown domain.tar": shard(json=b'{"domain": "painted"}'),
    "json of ids alike.tar": lambda: tar(*sample("a", json=b'{"id": "x"}'), *sample("b", json=b'{"id": "x"}')),
    "class of bytes.tar": shard(cls=b"\xff\xfe"),
    "class that is empty.tar": shard(cls=b""),
    "class number of a thousand digits.tar": shard(cls=b"9" * 1000),
    "class number of ten thousand digits.tar": shard(cls=b"9" * 10_000),
    "negative class.tar": shard(cls=b"-5"),
    "class of a strange digit.tar": shard(cls="²".encode()),
    "caption of bytes.tar": shard(txt=b"\xff\xfe\x80"),
    "numbers and names.tar": lambda: tar(*sample("a", cls=b"cat"), *sample("b", cls=b"3")),
}
TARS_HARMLESS: dict[str, Make] = {
    "json of not a number.tar": shard(json=b'{"score": NaN, "size": 1e999}'),
    "json of a huge number.tar": shard(json=b'{"number": 1' + b"0" * 400 + b"}"),
    "json with keys of ours.tar": shard(json=b'{"key": "x", "image": "y", "": "z"}'),
    "hidden.tar": lambda: tar((".0001.png", picture()), *sample()),
}
TARS_SPOILT = spoilt("shard", ".tar", shard()) | spoilt("packed shard", ".tar.gz", lambda: gzip.compress(tar(*sample()), mtime=0))
TARS_SPOILT |= spoilt("xz shard", ".tar", lambda: tar(*sample(), kind="w:xz")) | spoilt(
    "bz2 shard", ".tar", lambda: tar(*sample(), kind="w:bz2")
)


def columns(**changes: Any) -> dict[str, Any]:
    good = {"image": [picture()] * 2, "class_name": ["cat", "dog"], "domain": ["real"] * 2, "id": ["a", "b"]} | changes
    return {name: values for name, values in good.items() if values is not None}


def written(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def parquet(**changes: Any) -> Make:
    return lambda: written(pa.table(columns(**changes)))


def by_path(*paths: str) -> Make:
    return parquet(image=[{"bytes": None, "path": path} for path in paths])


def a_column_twice() -> bytes:
    good = pa.table(columns())
    return written(pa.Table.from_arrays([*good.columns, good.column("id")], names=[*good.column_names, "id"]))


def rows_without_end() -> bytes:
    """Five million rows in a few bytes: each row group repeats one value."""
    return written(pa.table({"image": pa.nulls(5_000_000, pa.binary())}), compression="zstd", row_group_size=5_000_000)


def one_image_many_times() -> bytes:
    """A small file that unpacks to three gigabytes: a value is stored once and named in each row."""
    image = pa.DictionaryArray.from_arrays(pa.array(np.zeros(12_000, np.int32)), pa.array([bytes(1 << 18)], pa.binary()))
    return written(pa.table({"image": image, "class_name": ["cat"] * 12_000}), compression="zstd")


def with_note(note: bytes) -> Make:
    return lambda: written(pa.table(columns()).replace_schema_metadata({b"huggingface": note}))


def not_unicode() -> bytes:
    bad = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(struct.pack("<3i", 0, 2, 4)), pa.py_buffer(b"\xff\xfe\xfd\xfc")])
    return written(pa.table(columns(class_name=bad)))


PARQUET_REFUSED: dict[str, Make] = {
    **{f"{name}.parquet": make for name, make in EVERYWHERE.items()},
    "only a mark.parquet": lambda: b"PAR1PAR1",
    "footer of four gigabytes.parquet": lambda: b"PAR1" + bytes(64) + b"\xff\xff\xff\xffPAR1",
    "no rows.parquet": parquet(
        image=pa.array([], pa.binary()),
        class_name=pa.array([], pa.string()),
        domain=pa.array([], pa.string()),
        id=pa.array([], pa.string()),
    ),
    "no image.parquet": parquet(image=None),
    "image of text.parquet": parquet(image=["a", "b"]),
    "image of numbers.parquet": parquet(image=[1, 2]),
    "image of pixels.parquet": parquet(image=[[1, 2], [3, 4]]),
    "image of lists in a struct.parquet": parquet(image=[{"bytes": [1], "path": "x"}] * 2),
    "image that is missing.parquet": parquet(image=pa.array([picture(), None], pa.binary())),
    "image without bytes or path.parquet": parquet(
        image=pa.array([{"bytes": None, "path": None}] * 2, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    ),
    "paths from the root.parquet": by_path("/etc/passwd", "/etc/hostname"),
    "paths that lead out.parquet": by_path("../../secret.png", "x.png"),
    "paths of devices.parquet": by_path("/dev/zero", "/dev/stdin"),
    "paths that are not there.parquet": by_path("gone.png", "gone too.png"),
    "paths that are too long.parquet": by_path("x" * 5000, "y"),
    "paths with a zero byte.parquet": by_path("a\x00b", "y"),
    "files that lead out.parquet": parquet(image=None, file_name=["../../a.png", "b.png"]),
    "broken images.parquet": parquet(image=[b"", b"text"]),
    "class of nothing.parquet": parquet(class_name=["cat", None]),
    "class of an empty name.parquet": parquet(class_name=["cat", ""]),
    "label of real numbers.parquet": parquet(class_name=None, label=[0.5, 1.5]),
    "label of truth values.parquet": parquet(class_name=None, label=[True, False]),
    "label without names.parquet": parquet(class_name=None, label=[0, 1]),
    "label and name that differ.parquet": parquet(label=[0, 0]),
    "label of lists.parquet": parquet(class_name=None, label=[[0], [1]]),
    "unknown domain.parquet": parquet(domain=["real", "painted"]),
    "domain of numbers.parquet": parquet(domain=[0, 1]),
    "ids alike.parquet": parquet(id=["a", "a"]),
    "id of nothing.parquet": parquet(id=["a", None]),
    "caption of lists.parquet": parquet(caption=[["a"], ["b"]]),
    "generator of structs.parquet": parquet(generator=[{"x": 1}] * 2),
    "a column twice.parquet": a_column_twice,
    "text that is no unicode.parquet": not_unicode,
    "five million rows.parquet": rows_without_end,
    "one image twelve thousand times.parquet": one_image_many_times,
}
PARQUET_HARMLESS: dict[str, Make] = {
    "note that is no json.parquet": with_note(b"{"),
    "note of another shape.parquet": with_note(b'{"info": {"features": 3}}'),
    "note of an unknown type.parquet": with_note(json.dumps({"info": {"features": {"label": {"_type": "Evil", "names": 3}}}}).encode()),
    "names of markup.parquet": parquet(class_name=["<script>alert(1)</script>", "[x](javascript:alert(1))"]),
    "id of numbers.parquet": parquet(id=[1, 2]),
}
PARQUET_SPOILT = spoilt("parquet", ".parquet", parquet(), cuts=(0.1, 0.5, 0.9, 0.99), flips=6)


def npy(array: Any, **options: Any) -> Make:
    def make() -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array, **options)
        return buffer.getvalue()

    return make


def npz(**arrays: Any) -> Make:
    def make() -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    return make


def headed(text: str, version: bytes = b"\x01\x00", data: bytes = bytes(64)) -> Make:
    head = text.encode("latin1")
    return lambda: b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(head)) + head + data


class Payload:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch /tmp/synthgap-was-here",)


def zip_of(name: str, data: bytes, *, pack: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", pack) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


@cache
def zip_bomb() -> bytes:
    """An archive of arrays that unpacks to a hundred times its size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("ids.npy", "w", force_zip64=True) as file:
            file.write(headed("{'descr': '|u1', 'fortran_order': False, 'shape': (134217728,), }\n", data=b"")())
            for _ in range(128):
                file.write(bytes(1 << 20))
    return buffer.getvalue()


ARRAYS_REFUSED: dict[str, Make] = {
    **{f"{name}.npy": make for name, make in EVERYWHERE.items()},
    "pickle.npy": lambda: pickle.dumps(Payload()),
    "objects.npy": npy(np.array([Payload()], dtype=object), allow_pickle=True),
    "archive by another name.npy": npz(a=np.ones((2, 2))),
    "one axis.npy": npy(np.ones(3)),
    "three axes.npy": npy(np.ones((2, 2, 2))),
    "nothing in it.npy": npy(np.ones((0, 3))),
    "text.npy": npy(np.array([["a", "b"]])),
    "complex.npy": npy(np.ones((2, 2), complex)),
    "truth values.npy": npy(np.ones((2, 2), bool)),
    "records.npy": npy(np.ones(2, [("a", "f4"), ("b", "f4")])),
    "dates.npy": npy(np.zeros((2, 2), "M8[s]")),
    "not a number.npy": npy(np.array([[1.0, np.nan], [0.0, 1.0]])),
    "infinity.npy": npy(np.array([[1.0, np.inf], [0.0, 1.0]])),
    "too large for float32.npy": npy(np.array([[1e300, 1.0], [0.0, 1.0]])),
    "a column of zeros.npy": npy(np.array([[1.0, 0.0], [1.0, 0.0]])),
    "claims everything.npy": headed("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000), }\n"),
    "claims ten gigabytes.npy": headed("{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 1250000), }\n"),
    "negative shape.npy": headed("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, 3), }\n"),
    "shape of text.npy": headed("{'descr': '<f8', 'fortran_order': False, 'shape': ('a', 3), }\n"),
    "unknown type.npy": headed("{'descr': '<q99', 'fortran_order': False, 'shape': (2, 3), }\n"),
    "head that computes.npy": headed("__import__('os').system('touch /tmp/synthgap-was-here')\n"),
    "deep head.npy": headed("(" * 5000 + ")" * 5000 + "\n"),
    "long head.npy": headed("{" + " " * 60_000 + "}\n"),
    "unknown version.npy": headed("{}", version=b"\x09\x00"),
}
ARCHIVES_REFUSED: dict[str, Make] = {
    **{f"{name}.npz": make for name, make in EVERYWHERE.items()},
    "array by another name.npz": npy(np.ones((2, 2))),
    "objects.npz": lambda: zip_of("ids.npy", npy(np.array([Payload()], dtype=object), allow_pickle=True)()),
    "pickle in it.npz": lambda: zip_of("ids.npy", pickle.dumps(Payload())),
    "bomb.npz": zip_bomb,
    "claims everything.npz": lambda: zip_of("ids.npy", ARRAYS_REFUSED["claims everything.npy"]()),
    "broken pack.npz": lambda: (
        data := bytearray(zip_of("ids.npy", npy(np.arange(999))())),
        data.__setitem__(slice(60, 90), bytes(30)),
        bytes(data),
    )[2],
}
ARCHIVES_HARMLESS: dict[str, Make] = {
    "leads out.npz": lambda: zip_of("../../ids.npy", npy(np.ones(2))()),
    "text in it.npz": lambda: zip_of("ids.txt", b"hello"),
}
ARRAYS_SPOILT = spoilt("array", ".npy", npy(np.random.default_rng(0).normal(size=(8, 3)))) | spoilt(
    "archive", ".npz", npz(a=np.arange(999.0))
)

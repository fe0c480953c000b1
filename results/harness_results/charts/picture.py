"""A chart as PNG or SVG, by vl-convert: no browser and no connection."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal

from harness.contract.errors import UnavailableError
from harness_results.charts import FIX

Format = Literal["png", "svg"]
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SCALE = 2.5  # pixels of a PNG per unit: 300 dots per inch at the width of a page


def picture(chart: Any, form: Format, scale: float = SCALE) -> bytes:
    """Return an altair chart as the bytes of a file; ``scale`` is for PNG.

    Raises:
        UnavailableError: vl-convert is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UnavailableError(
            f"pictures need vl-convert, which is not installed. Install it: {FIX}"
        ) from error
    from altair import SCHEMA_VERSION

    version = ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    options: dict[str, Any] = {"vl_version": version, "allowed_base_urls": []}
    specification = chart.to_dict()
    if form == "svg":
        return vl_convert.vegalite_to_svg(specification, **options).encode()
    return _compressed(vl_convert.vegalite_to_png(specification, scale=scale, **options))


def _compressed(png: bytes) -> bytes:
    """Return the same picture at deflate's highest level: less than half of vl-convert's size."""
    head, *chunks = _chunks(png)
    pixels = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    packed = [head, *rest[:-1], (b"IDAT", zlib.compress(pixels, 9)), rest[-1]]
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in packed)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = len(SIGNATURE)
    while offset < len(png):
        size, kind = struct.unpack_from(">I4s", png, offset)
        yield kind, png[offset + 8 : offset + 8 + size]
        offset += 12 + size


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum

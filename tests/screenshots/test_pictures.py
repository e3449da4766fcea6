"""Each picture of the documents is taken by `make screenshots`, and each picture that it takes is shown."""

import re
import struct
import zlib
from pathlib import Path

import pytest

from tests.screenshots import png
from tests.screenshots.pictures import PICTURES
from tests.screenshots.scenes import SCENES

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
SHOWN = re.compile(r"images/([\w-]+)\.png")


def test_documents_show_the_pictures_that_are_taken() -> None:
    documents = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    shown = {name for path in documents for name in SHOWN.findall(path.read_text())}
    assert shown == set(PICTURES)
    assert {path.stem for path in IMAGES.iterdir()} == set(PICTURES)
    assert {picture.scene for picture in PICTURES.values()} == set(SCENES)


@pytest.mark.parametrize("name", [name for name, picture in PICTURES.items() if not picture.part])
def test_picture_has_the_size_that_is_taken(name: str) -> None:
    size = struct.unpack_from(">II", (IMAGES / f"{name}.png").read_bytes(), 16)
    assert size == (PICTURES[name].width, PICTURES[name].height)


def pixels(data: bytes) -> list[bytes]:
    """The rows as red, green and blue."""
    chunks, palette = dict(png.read_chunks(data)), b""
    width, _, _, colours, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if colours == 3:
        start = data.index(b"PLTE")
        (size,) = struct.unpack(">I", data[start - 4 : start])
        palette = data[start + 4 : start + 4 + size]
    step = png.BYTES_PER_PIXEL.get(colours, 1)
    rows = png.unfilter(zlib.decompress(chunks[b"IDAT"]), width * step, step)
    if palette:
        return [b"".join(palette[3 * index : 3 * index + 3] for index in row) for row in rows]
    return [b"".join(row[at : at + 3] for at in range(0, len(row), step)) for row in rows]


@pytest.mark.parametrize("colours", [4, 5000], ids=["few", "many"])
def test_shrunk_picture_shows_the_same_in_fewer_bytes(colours: int) -> None:
    rows = [b"".join(((x * y + x) % colours).to_bytes(3, "big") + b"\xff" for x in range(80)) for y in range(80)]
    header = png.chunk(b"IHDR", struct.pack(">IIBBBBB", 80, 80, 8, 6, 0, 0, 0))
    content = zlib.compress(b"".join(b"\0" + row for row in rows), 0)
    large = png.SIGNATURE + header + png.chunk(b"IDAT", content) + png.chunk(b"IEND", b"")
    small = png.shrink(large)
    assert len(small) < len(large)
    assert pixels(small) == pixels(large)

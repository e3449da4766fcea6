"""Write a SQLite file from a stream, and check it before it is used."""

from pathlib import Path
from typing import IO

from ops.databases.sqlite.files import HEADER, remove
from ops.databases.sqlite.snapshot import FREE_SPACE, create_private, faults_of
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.progress import Progress, ProgressCallback
from ops.utils.streams import blocks_of

HEADER_SIZE = 100
CHOOSE_ANOTHER = "Choose another backup: manage.py list_backups"


def unpack(stream: IO[bytes], path: Path, *, stage: str, on_progress: ProgressCallback) -> None:
    """Write `stream` to `path`, readable by its owner only, and check it. An existing file is replaced.

    Raises ArtifactInvalid for a truncated or damaged file.
    """
    remove(path)
    create_private(path)
    done = 0
    with path.open("wb") as file:
        for block in blocks_of(stream):
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise PreconditionFailed(
                    f"The backup could not be decompressed in {path.parent.parent}: {error.strerror}.", FREE_SPACE
                ) from error
            done += len(block)
            on_progress(Progress(stage=stage, done=done))
    check_length(path)
    if faults := faults_of(path):
        raise invalid(f"is damaged: {faults}")


def invalid(what: str) -> ArtifactInvalid:
    return ArtifactInvalid(f"The backup {what}.", CHOOSE_ANOTHER)


def check_length(path: Path) -> None:
    """The header has the number of pages (sqlite.org/fileformat2.html, 1.3); SQLite also reads shorter files."""
    with path.open("rb") as file:
        header = file.read(HEADER_SIZE)
    if not header.startswith(HEADER[: len(header)]) or not header:
        raise invalid("is not a SQLite file, or it is encrypted" if header else "is empty")
    page_size = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    size, expected = path.stat().st_size, (65536 if page_size == 1 else page_size) * pages
    if len(header) < HEADER_SIZE or size < expected:
        raise invalid(f"is truncated: it has {size:,} bytes of {max(expected, HEADER_SIZE):,}")
    if size > expected:
        raise invalid(f"is damaged: it has {size:,} bytes, and its header says {expected:,}")

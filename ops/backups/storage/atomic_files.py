"""Files and JSON documents in a storage location: complete or absent."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from ops.backups.compression import IteratorFile
from ops.backups.storage.entries import Entry
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed

MAX_DOCUMENT = 64 * 2**20
"""Bytes. A manifest has about 100 for each table."""


class AtomicFiles:
    """What the repository needs beyond the interface of the storages."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """The files in `folder` with their sizes, from one listing; none where there is no such folder."""
        found: dict[str, Entry] = self.storage.entries(folder)  # type: ignore[attr-defined]
        return found

    def names(self, folder: str = "") -> set[str]:
        """The names of the files in `folder`."""
        return set(self.entries(folder))

    def document(self, name: str, *, largest: int = 0) -> dict[str, Any]:
        """A JSON object of at most `largest` bytes. Raises ArtifactInvalid for other content, and storage errors."""
        with self.storage.open(name, "rb") as file:
            largest = largest or MAX_DOCUMENT
            content = file.read(largest + 1)
        if len(content) > largest:
            raise ArtifactInvalid(f"{name} is larger than {largest:,} bytes.")
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise ArtifactInvalid(f"{name} is not a JSON object: {error}.") from error

    def create(self, name: str, blocks: Iterator[bytes]) -> None:
        """Save a new file. After an error nothing of it is left, and an existing file is unchanged."""
        if self.storage.exists(name):
            raise PreconditionFailed(f"{name} exists already.", "Nothing was changed.")
        with contextlib.closing(IteratorFile(blocks, name)) as content:
            try:
                self.storage.save(name, content)
            except BaseException:
                # Not every storage removes an incomplete file. One that has not read any content has not created it.
                if content.started:
                    self.storage.delete(name)
                raise

    def rewrite(self, name: str, content: bytes) -> None:
        """Overwrite a file, atomically."""
        self.storage.replace(name, ContentFile(content))  # type: ignore[attr-defined]


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Indented JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def sentence(error: OpsError | FileNotFoundError) -> str:
    return error.message if isinstance(error, OpsError) else "The file is gone."

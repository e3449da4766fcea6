"""The plaintext view of a storage whose files are age files: ``NAME`` is stored as ``NAME.age``."""

import contextlib
import datetime as dt
from collections.abc import Mapping
from typing import IO, Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage

from ops.backups.encryption import AgeKeys
from ops.backups.storage.entries import Entry

SUFFIX = ".age"


class EncryptedStorage(Storage):
    """Reads and writes documents in `storage` through `keys`.

    Data files are read here, and written to `storage` as ciphertext that exists already, so that each location has the
    same bytes. Sizes are those of the ciphertext. Files without the suffix are ignored.
    """

    def __init__(self, storage: Storage, keys: AgeKeys) -> None:
        self.storage, self.keys = storage, keys

    @property
    def display_location(self) -> str:
        return str(getattr(self.storage, "display_location", type(self.storage).__name__))

    def entries(self, folder: str = "") -> dict[str, Entry]:
        found: Mapping[str, Entry] = self.storage.entries(folder)  # type: ignore[attr-defined]
        return {name.removesuffix(SUFFIX): entry for name, entry in found.items() if name.endswith(SUFFIX)}

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002  # Django's interface
        return name

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        if mode != "rb":
            raise ValueError("Backups are opened for reading only.")
        return DecryptedFile(self.storage.open(name + SUFFIX, mode), name + SUFFIX, self.keys)

    def _save(self, name: str, content: "File[bytes]") -> str:
        return self.storage.save(name + SUFFIX, self.encrypted(content)).removesuffix(SUFFIX)

    def replace(self, name: str, content: "File[bytes]") -> None:
        self.storage.replace(name + SUFFIX, self.encrypted(content))  # type: ignore[attr-defined]

    def encrypted(self, content: "File[bytes]") -> "ContentFile[bytes]":
        """In memory: documents are small."""
        return ContentFile(self.keys.encrypt(content.read()))

    def exists(self, name: str) -> bool:
        return self.storage.exists(name + SUFFIX)

    def size(self, name: str) -> int:
        return self.storage.size(name + SUFFIX)

    def delete(self, name: str) -> None:
        self.storage.delete(name + SUFFIX)

    def locked_until(self, name: str) -> dt.datetime | None:
        until: dt.datetime | None = self.storage.locked_until(name + SUFFIX)  # type: ignore[attr-defined]
        return until

    def free_bytes(self) -> int | None:
        free: int | None = self.storage.free_bytes()  # type: ignore[attr-defined]
        return free


class DecryptedFile(File):  # type: ignore[type-arg]  # generic for the type checker only
    """The plaintext of `ciphertext`, read once, from front to back. Closing it closes the ciphertext."""

    def __init__(self, ciphertext: IO[bytes], name: str, keys: AgeKeys) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(ciphertext.close)
            plain: Any = stack.enter_context(keys.decrypted(ciphertext, name))
            super().__init__(plain, name)
            self.stack = stack.pop_all()

    def close(self) -> None:
        self.stack.close()

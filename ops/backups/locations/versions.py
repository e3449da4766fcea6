"""What a versioned bucket still has of objects that were deleted or overwritten."""

import functools
from collections.abc import Iterator
from typing import Any

from django.core.files.base import File
from django.core.files.storage import Storage

from ops.backups.encryption import SUFFIX
from ops.backups.event_files import EVENTS, REPORTS
from ops.backups.locations.location import Location
from ops.backups.manifest import Manifest
from ops.backups.repository import MANIFEST
from ops.backups.signing import Trust
from ops.backups.storage.entries import Entry, Version

WRITTEN_ONCE = (f"{EVENTS}/", f"{REPORTS}/")


class VersionedStorage(Storage):
    """A versioned bucket as if nothing had been deleted: each object has the content of one version.

    That is the newest one unless `choose` has named another. What is written once is read in its oldest version.
    Nothing can be written.
    """

    def __init__(self, bucket: Any) -> None:
        self.bucket = bucket
        self.listed: dict[str, dict[str, list[Version]]] = {}
        self.chosen: dict[str, Version] = {}

    @property
    def display_location(self) -> str:
        return str(self.bucket.display_location)

    def folder(self, name: str) -> dict[str, list[Version]]:
        """All versions in the folder `name`, listed once, by the name of the object."""
        if name not in self.listed:
            self.listed[name] = self.bucket.versions_in(name)
        return self.listed[name]

    def versions(self, name: str) -> list[Version]:
        """The newest first; none for an object that never was there."""
        folder, _, last = name.rpartition("/")
        return self.folder(folder).get(last, [])

    def choose(self, name: str, version: Version) -> None:
        self.chosen[name] = version

    def version(self, name: str) -> Version:
        """The one that is read. Raises FileNotFoundError."""
        versions = self.versions(name)
        if not versions:
            raise FileNotFoundError(name)
        return self.chosen.get(name, versions[-1 if name.startswith(WRITTEN_ONCE) else 0])

    def entries(self, folder: str = "") -> dict[str, Entry]:
        prefix = f"{folder}/" if folder else ""
        used = {name: self.version(prefix + name) for name in self.folder(folder)}
        return {name: Entry(version.size, version.modified) for name, version in used.items()}

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folders, _files = self.bucket.listdir(path)
        return folders, sorted(self.folder(path))

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        if mode != "rb":
            raise ValueError("Earlier versions are opened for reading only.")
        opened: File[bytes] = self.bucket.open_version(name, self.version(name).id)
        return opened

    def exists(self, name: str) -> bool:
        return bool(self.versions(name))

    def size(self, name: str) -> int:
        return self.version(name).size


class VersionedLocation(Location):
    """A bucket whose earlier versions are read as well. Raises PreconditionFailed if the server does not list them."""

    @functools.cached_property
    def storage(self) -> VersionedStorage:
        return VersionedStorage(super().storage)

    @functools.cached_property
    def current(self) -> frozenset[str]:
        """The objects that are not deleted."""
        return frozenset(self.storage.bucket.entries())

    def stored(self, name: str) -> str:
        """The name of a file as the bucket has it."""
        return name + SUFFIX if self.encrypted else name

    def choose_versions(self) -> None:
        """For each backup, choose the newest manifest that is signed, with data of the size that it tells.

        A thief can overwrite either. Without such a pair, the newest versions stay chosen.
        """
        for name in self.repository.names(self.repository.files.entries()):
            if any(len(self.storage.versions(self.stored(file))) > 1 for file in (name, name + MANIFEST)):
                self.choose_pair(name)

    def choose_pair(self, name: str) -> None:
        file = self.stored(name + MANIFEST)
        versions = self.storage.versions(file)
        for version in versions:
            self.storage.choose(file, version)
            record = self.repository.read_record(name, self.repository.files.entries())
            if record.trust is Trust.SIGNED and record.manifest and (data := self.data_of(record.manifest)):
                self.storage.choose(self.stored(name), data[0])
                return
        self.storage.choose(file, versions[0])

    def data_of(self, manifest: Manifest) -> list[Version]:
        """The versions of the data file with the right size, the newest first."""
        expected = self.repository.stored_size(manifest)
        return [version for version in self.storage.versions(self.stored(manifest.name)) if version.size == expected]

    def contents(self, manifest: Manifest) -> Iterator[None]:
        for version in self.data_of(manifest):
            self.storage.choose(self.stored(manifest.name), version)
            yield

    def is_deleted(self, name: str) -> bool:
        return not self.current.issuperset(self.stored(file) for file in (name, name + MANIFEST))

    def remark(self, name: str) -> str:
        if self.is_deleted(name):
            return "it was deleted in the bucket; an earlier version is read"
        files = [self.stored(name), self.stored(name + MANIFEST)]
        if any(self.storage.version(file) != self.storage.versions(file)[0] for file in files):
            return "it was overwritten in the bucket; an earlier version is read"
        return ""

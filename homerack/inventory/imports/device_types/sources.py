"""The YAML files of a folder, a zip archive, or a file. Nothing is unpacked: paths in archives are only shown."""

import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from homerack.inventory.imports.device_types.reading import MAX_FILE_BYTES, SourceFile
from homerack.inventory.imports.refusals import Refused, printable

YAML = frozenset({".yaml", ".yml"})
LIBRARY = "device-types"
"""The folder of the public library that holds device types. Next to it are modules, racks, pictures and tests."""

OTHER_TYPES = frozenset({"module-types", "rack-types", "__MACOSX"})
MAX_DIRECTORY_BYTES = 4_000_000
"""The largest directory of an archive that is read; that of the public library has about 2 MB."""

MAX_PATH = 200
"""Characters of a path that messages show."""

ENCRYPTED = 1
"""A bit of the flags of a file in an archive."""


def files_in(path: Path) -> Iterator[SourceFile | Refused]:
    """The files of a folder, an archive, or one file. Yields a refusal for what cannot be read; raises nothing."""
    try:
        if path.is_dir():
            yield from files_in_folder(path)
            return
        with open_regular(path) as file:
            yield from files_of(path.name, file)
    except OSError as error:
        yield unreadable(str(path), error)


def files_of(name: str, file: IO[bytes]) -> Iterator[SourceFile | Refused]:
    """An open file that can be sought: an archive, whatever its name is, or YAML."""
    is_archive = file.read(2) == b"PK"
    file.seek(0)
    if is_archive:
        yield from files_in_archive(name, file)
    else:
        yield SourceFile(name=printable(name, MAX_PATH), content=file.read(MAX_FILE_BYTES + 1))


# --- Folders ----------------------------------------------------------------------------------------------------------
def files_in_folder(folder: Path) -> Iterator[SourceFile | Refused]:
    """In the order of their paths. Links to folders are not followed: they may form circles."""
    paths: list[PurePosixPath] = []
    refused: list[Refused] = []

    def refuse(error: OSError) -> None:
        refused.append(unreadable(str(error.filename), error))

    for parent, folders, names in os.walk(folder, onerror=refuse):
        paths += [PurePosixPath(parent, name).relative_to(folder) for name in names]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        refused += [
            Refused(source=printable(name, MAX_PATH), reason="A link to a folder is not followed.") for name in links
        ]
    yield from refused
    wanted = device_types_among(paths)
    if not wanted:
        yield Refused(source=printable(str(folder), MAX_PATH), reason="There are no device types (.yaml, .yml) here.")
    for path in wanted:
        try:
            with open_regular(folder / path) as file:
                yield SourceFile(name=printable(str(path), MAX_PATH), content=file.read(MAX_FILE_BYTES + 1))
        except OSError as error:
            yield unreadable(str(path), error)


def device_types_among(paths: Iterable[PurePosixPath]) -> list[PurePosixPath]:
    """The YAML files that may be device types, in order: those of the folder of the library, if it is there."""
    found = sorted(path for path in paths if path.suffix.lower() in YAML and not is_hidden(path))
    return [path for path in found if LIBRARY in path.parts[:-1]] or [
        path for path in found if OTHER_TYPES.isdisjoint(path.parts)
    ]


def is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def open_regular(path: Path) -> IO[bytes]:
    """Raises OSError for what is no file: a device or a pipe may have no end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "this is not a regular file")
    return path.open("rb")


def unreadable(name: str, error: OSError) -> Refused:
    return Refused(source=printable(name, MAX_PATH), reason=f"The file cannot be read: {error.strerror or error}.")


# --- Archives ---------------------------------------------------------------------------------------------------------
class BoundedReads:
    """A file for `zipfile`, which reads the whole directory of an archive at once, whatever its size is."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("it lists too many files")
        return self.file.read(size if size >= 0 else MAX_DIRECTORY_BYTES)


def files_in_archive(name: str, file: IO[bytes]) -> Iterator[SourceFile | Refused]:
    """In the order of their paths. Damaged archives, and damaged files in them, are refused."""
    source = printable(name, MAX_PATH)
    try:
        archive = zipfile.ZipFile(BoundedReads(file))
    except Exception as error:  # noqa: BLE001  # zipfile raises errors of many kinds for damaged archives
        yield Refused(source=source, reason=f"The archive is damaged: {printable(str(error))}.")
        return
    with archive:
        entries: dict[PurePosixPath, list[zipfile.ZipInfo]] = {}
        for entry in archive.infolist():
            if not entry.is_dir():
                entries.setdefault(PurePosixPath(entry.filename.replace("\\", "/")), []).append(entry)
        wanted = device_types_among(entries)
        if not wanted:
            yield Refused(source=source, reason="There are no device types (.yaml, .yml) in this archive.")
        for path in wanted:
            yield read_entry(archive, path, entries[path])


def read_entry(
    archive: zipfile.ZipFile, path: PurePosixPath, entries: Sequence[zipfile.ZipInfo]
) -> SourceFile | Refused:
    source = printable(str(path), MAX_PATH)
    if len(entries) > 1:
        return Refused(source=source, reason=f"The archive has {len(entries)} files of this path.")
    entry = entries[0]
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return Refused(source=source, reason="The path leads out of the archive.")
    if entry.flag_bits & ENCRYPTED:
        return Refused(source=source, reason="The file is encrypted.")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return Refused(source=source, reason="The file is compressed in an unusual way. Make the archive again.")
    try:
        with archive.open(entry) as file:
            return SourceFile(name=source, content=file.read(MAX_FILE_BYTES + 1))
    except Exception as error:  # noqa: BLE001  # zipfile and zlib raise errors of many kinds for damaged files
        return Refused(source=source, reason=f"The file is damaged in the archive: {printable(str(error))}.")

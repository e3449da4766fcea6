"""Backup files are private, complete or absent, and links are not followed."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.db.migrations.writer import MigrationWriter

from ops.backups.compression import IteratorFile
from ops.backups.storage import local as module
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import PreconditionFailed
from ops.utils.streams import BLOCK_SIZE
from tests.backups import factories
from tests.backups.fault_injection import Faulty

WRITTEN = ["open", "fchmod", "write", "write", "fsync", "replace", "fsync"]
CALLS = {"x": ["mkdir", "open", *WRITTEN], "events/x": ["mkdir", "open", "mkdir", "open", *WRITTEN]}
"""The system calls of replacing a file in an existing directory."""
OLD, NEW = b"o" * (BLOCK_SIZE + 1), b"n" * (BLOCK_SIZE + 1)
"""Each is two writes."""


@pytest.fixture
def directory(tmp_path: Path) -> PrivateFileSystemStorage:
    return PrivateFileSystemStorage(tmp_path / "backups")


def content(text: bytes = b"new") -> IteratorFile:
    return IteratorFile(iter([text[:1], text[1:]]), "x")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def tree(directory: PrivateFileSystemStorage) -> dict[str, bytes]:
    """Every file below it, read without the storage."""
    paths = [path for path in directory.location.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory.location)): path.read_bytes() for path in paths}


def test_saved_file_is_read_back(directory):
    assert directory.save("a.sql.gz", content(b"abc")) == "a.sql.gz"
    assert directory.save("events/b.json", ContentFile(b"{}")) == "events/b.json"
    assert directory.exists("a.sql.gz")
    assert directory.exists("events/b.json")
    assert directory.size("a.sql.gz") == 3
    assert directory.listdir("") == directory.listdir(".") == (["events"], ["a.sql.gz"])
    assert directory.listdir("events") == ([], ["b.json"])
    with directory.open("a.sql.gz") as file:
        assert (file.name, file.read()) == ("a.sql.gz", b"abc")
    directory.delete("a.sql.gz")
    directory.delete("a.sql.gz")
    assert not directory.exists("a.sql.gz")


def test_reading_creates_no_directory(directory):
    assert directory.listdir("") == ([], [])
    assert directory.listdir("events") == ([], [])
    assert not directory.exists("events/x.json")
    with pytest.raises(FileNotFoundError):
        directory.open("x")
    with pytest.raises(FileNotFoundError):
        directory.size("x")
    directory.delete("x")
    assert not directory.location.exists()


def test_open_for_writing_is_refused(directory):
    with pytest.raises(ValueError, match=r"^Backups are read with mode 'rb', not 'wb'\.$"):
        directory.open("x", "wb")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_saved_files_are_private_with_any_umask(directory, umask):
    before = os.umask(umask)
    try:
        directory.save("events/x.json", content())
        directory.save("x", content())
    finally:
        os.umask(before)
    assert [mode(directory.location / name) for name in ("", "events", "x", "events/x.json")] == [
        0o700,
        0o700,
        0o600,
        0o600,
    ]


def test_directory_that_is_readable_by_others_becomes_private(directory):
    directory.location.mkdir(mode=0o755)
    directory.save("x", content())
    assert mode(directory.location) == 0o700


def test_save_under_an_existing_name_is_refused(directory):
    directory.save("x", content(b"old"))
    with pytest.raises(PreconditionFailed) as caught:
        directory.save("x", content())
    assert str(caught.value) == f"{directory.location}/x exists already.\nNothing was changed."
    assert tree(directory) == {"x": b"old"}


def test_replace_overwrites_a_file(directory):
    directory.replace("x", content(b"old"))
    directory.replace("x", content(b"new"))
    assert tree(directory) == {"x": b"new"}


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../x", "a/b/c", ".", "", "a//b", "a\\b", "a\0b", "events/.."]
)
def test_names_outside_of_the_directory_are_refused(directory, name):
    for method in (directory.exists, directory.size, directory.delete, directory.open, directory.path):
        with pytest.raises(SuspiciousFileOperation):
            method(name)
    with pytest.raises(SuspiciousFileOperation):
        directory.save(name or "/", content())
    with pytest.raises(SuspiciousFileOperation):
        directory.replace(name, content())


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "victim"
    path.write_bytes(b"precious")
    yield path
    assert path.read_bytes() == b"precious"


def test_link_with_the_partial_name_is_not_followed(directory, victim):
    directory.location.mkdir()
    (directory.location / "x.partial").symlink_to(victim)
    with pytest.raises(PreconditionFailed, match=r"x\.partial exists: another run is writing it"):
        directory.save("x", content())


def test_partial_file_of_a_killed_writer_is_replaced(directory):
    for write in (directory.save, directory.replace):
        directory.location.mkdir(exist_ok=True)
        (directory.location / "x.partial").write_bytes(b"left by a killed writer")
        write("x", content())
        assert tree(directory) == {"x": b"new"}
        directory.delete("x")


def test_two_writers_that_find_an_abandoned_file_do_not_write_the_same_one(directory, monkeypatch):
    """The second one removes the abandoned file that the first one has found, and writes its own."""
    directory.location.mkdir()
    (directory.location / "x.partial").write_bytes(b"left by a killed writer")
    monkeypatch.setattr(module, "is_at", lambda *arguments: monkeypatch.undo() or second(*arguments))
    second_writer = open_files = []

    def second(descriptor: int, folder: int, name: str) -> bool:
        os.unlink(name, dir_fd=folder)
        open_files.append(directory.create("x", folder, name))
        return module.is_at(descriptor, folder, name)

    with pytest.raises(PreconditionFailed, match="another run is writing it"):
        directory.save("x", content())
    assert second_writer
    os.close(open_files[0])


def test_link_with_the_final_name_is_replaced(directory, victim):
    directory.location.mkdir()
    (directory.location / "x").symlink_to(victim)
    with pytest.raises(PreconditionFailed, match="exists already"):
        directory.save("x", content())
    directory.replace("x", content())
    assert not (directory.location / "x").is_symlink()


def test_link_is_not_read(directory, victim):
    directory.location.mkdir()
    (directory.location / "x").symlink_to(victim)
    with pytest.raises(PreconditionFailed) as caught:
        directory.open("x")
    assert str(caught.value) == (
        f"{directory.location}/x is, or is reached through, a symbolic link or another unexpected file.\n"
        "Backups are not read or written through links. Remove it, or set BACKUP_DIR to where it leads."
    )
    directory.delete("x")


def test_link_as_a_folder_is_not_followed(directory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    directory.location.mkdir()
    (directory.location / "events").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PreconditionFailed, match="symbolic link"):
        directory.save("events/x.json", content())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_location_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    PrivateFileSystemStorage(tmp_path / "backups").save("x", content())
    assert (tmp_path / "disk" / "x").read_bytes() == b"new"


def test_pipe_is_refused_without_waiting(directory):
    directory.location.mkdir()
    os.mkfifo(directory.location / "x")
    with pytest.raises(PreconditionFailed, match=r"/x is not a file\.$|/x is not a file\.\n"):
        directory.open("x")


def test_file_as_the_directory_is_refused(directory):
    directory.location.write_text("a file")
    with pytest.raises(PreconditionFailed, match="or another unexpected file"):
        directory.save("x", content())
    assert directory.location.read_text() == "a file"


def test_save_of_failing_content_raises_its_error_and_leaves_nothing(directory):
    file = IteratorFile(factories.failing(b"half", error=OSError(errno.ENOSPC, "of another program")), "x")
    with pytest.raises(OSError, match="of another program"):
        directory.save("x", file)
    assert tree(directory) == {}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("name", ["x", "events/x"])
def test_write_with_any_failing_system_call_leaves_the_old_or_new_state(directory, monkeypatch, name, number):
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    directory.replace(name, content(OLD))
    for at in range(1, 30):
        faulty = Faulty(at, fail)
        monkeypatch.setattr(module, "os", faulty)
        refused = pytest.raises(PreconditionFailed, match=f"{directory.location / name}.* {os.strerror(number)}")
        with refused if at <= len(CALLS[name]) else contextlib.nullcontext():
            directory.replace(name, content(NEW))
        monkeypatch.setattr(module, "os", os)
        if not faulty.happened:
            break
        renamed = faulty.calls[: at - 1].count("replace") == 1
        assert tree(directory) == {name: NEW if renamed else OLD}, faulty.calls
        directory.replace(name, content(OLD))
    assert faulty.calls == CALLS[name]


def test_write_killed_at_any_system_call_leaves_the_old_or_new_state(tmp_path):
    program = """
import os, sys
from pathlib import Path
from django.core.files.base import ContentFile
from ops.backups.storage import local
from tests.backups.fault_injection import Faulty
directory = local.PrivateFileSystemStorage(sys.argv[1])
at = 0
while True:
    at += 1
    if not os.fork():
        local.os = Faulty(at, lambda: os._exit(9))
        directory.replace("x", ContentFile(b"new"))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    content = (directory.location / "x").read_text()
    print(at, code, content, sorted(path.name for path in directory.location.iterdir()))
    directory.delete("x.partial")
    directory.replace("x", ContentFile(b"old"))
    if code == 0:
        break
"""
    PrivateFileSystemStorage(tmp_path).replace("x", ContentFile(b"old"))
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
    lines = [line.split(maxsplit=3) for line in ended.stdout.splitlines()]
    states = [content for _, _, content, _ in lines]
    assert len(states) > 6
    assert states == ["old"] * states.index("new") + ["new"] * (len(states) - states.index("new"))
    assert {files for _, _, _, files in lines} == {"['x']", "['x', 'x.partial']"}
    assert lines[-1][1:] == ["0", "new", "['x']"]


def test_save_beyond_the_limit_of_file_size_is_refused(directory):
    """A real limit of the system (``ulimit -f``), which needs no special disk."""
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from ops.backups.compression import IteratorFile
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import PreconditionFailed
try:
    PrivateFileSystemStorage({str(directory.location)!r}).save("x", IteratorFile(iter([bytes(60_000)] * 3), "x"))
except PreconditionFailed as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert ended.stdout == (
        f"{directory.location}/x could not be written: File too large.\n"
        "Free some space there, or set BACKUP_DIR to another disk.\n"
    )
    assert tree(directory) == {}


def test_save_on_a_full_disk_is_refused(directory, monkeypatch):
    """``/dev/full`` answers every write as a full disk does."""

    class Full:
        def __getattr__(self, name):
            return getattr(os, name)

        def open(self, path, flags, *arguments, **options):
            descriptor = os.open(path, flags, *arguments, **options)
            if str(path).endswith(".partial"):
                full = os.open("/dev/full", os.O_WRONLY)
                os.dup2(full, descriptor)
                os.close(full)
            return descriptor

        def fchmod(self, *arguments):
            """It would be that of ``/dev/full``."""

    monkeypatch.setattr(module, "os", Full())
    monkeypatch.setattr(module, "is_at", lambda *_arguments: True)
    with pytest.raises(PreconditionFailed) as caught:
        directory.save("x", content())
    assert str(caught.value) == (
        f"{directory.location}/x could not be written: No space left on device.\n"
        "Free some space there, or set BACKUP_DIR to another disk."
    )
    assert tree(directory) == {}


def test_second_concurrent_save_of_a_name_is_refused(directory):
    begun, finish = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        yield b"fir"
        begun.set()
        assert finish.wait(10)
        yield b"st"

    first = threading.Thread(target=lambda: directory.save("x", IteratorFile(slow(), "x")))
    first.start()
    assert begun.wait(10)
    for second in (directory.save, directory.replace):
        with pytest.raises(PreconditionFailed) as caught:
            second("x", content(b"second"))
        assert str(caught.value) == (
            f"{directory.location}/x.partial exists: another run is writing it.\nWait for the other run."
        )
    finish.set()
    first.join()
    assert tree(directory) == {"x": b"first"}


def test_free_bytes_are_those_of_the_existing_parent(directory, monkeypatch):
    asked = []

    class Disk:
        f_bavail, f_frsize = 3, 4096

    monkeypatch.setattr(module.os, "statvfs", lambda path: asked.append(path) or Disk)
    assert directory.free_bytes() == 3 * 4096
    assert asked == [directory.location.parent]


def test_free_bytes_are_none_where_the_system_does_not_tell(directory, monkeypatch):
    def fail(path: Path) -> None:
        raise OSError(errno.ENOSYS, "no such thing")

    monkeypatch.setattr(module.os, "statvfs", fail)
    assert directory.free_bytes() is None


def test_operations_leave_no_open_descriptor(directory):
    before = len(list(Path("/proc/self/fd").iterdir()))
    test_saved_file_is_read_back(directory)
    with pytest.raises(PreconditionFailed):
        directory.save("events/b.json", content())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_storage_is_deconstructible():
    text, imports = MigrationWriter.serialize(PrivateFileSystemStorage("/srv/backups"))
    assert text == "ops.backups.storage.local.PrivateFileSystemStorage('/srv/backups')"
    assert imports == {"import ops.backups.storage.local"}

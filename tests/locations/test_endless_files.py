"""A location whose server sends more than there should be: nothing fills the memory or the disk."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from ops.backups.compression import IteratorFile
from ops.backups.event_files import EVENTS, MAX_EVENT
from ops.backups.locations import copying
from ops.backups.locations.bringing import bring_history
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import ArtifactInvalid
from ops.utils.progress import no_progress
from tests.locations.support import Installation

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "20261123_120000_000000_a1_started.json"


@pytest.fixture
def lab(tmp_path) -> Installation:
    return Installation(tmp_path, {"name": "disk", "encrypted": False})


@pytest.fixture
def sent(monkeypatch) -> list[int]:
    """The number of MiB that the server was asked for. Its data files have no end."""
    sent: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in itertools.count():
            sent.append(number)
            yield b"x" * 2**20

    read_file = PrivateFileSystemStorage._open

    def read_from(self: PrivateFileSystemStorage, name: str, mode: str = "rb") -> Any:
        return read_file(self, name, mode) if name.endswith(".json") else IteratorFile(blocks(), name)

    monkeypatch.setattr(PrivateFileSystemStorage, "_open", read_from)
    return sent


def test_large_event_is_not_taken_over(lab, tmp_path):
    folder = tmp_path / "disk" / EVENTS
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b" " * (MAX_EVENT + 1))
    faults = bring_history(lab.catalog, lab.catalog.other("disk"), no_progress)
    assert faults == [f"{EVENTS}/{NAME} cannot be read. It is larger than {MAX_EVENT:,} bytes."]
    assert lab.catalog.event_names() == []


def test_reading_ends_where_the_backup_should_end(lab, sent):
    manifest = lab.catalog.get(lab.back_up()).require_manifest()
    with lab.catalog.open_file(manifest) as file, pytest.raises(ArtifactInvalid, match="its SHA-256 differs"):
        file.read(2**30)
    assert len(sent) <= 3


def test_check_of_a_copy_ends_where_the_copy_should_end(lab, sent):
    manifest = lab.catalog.get(lab.back_up()).require_manifest()
    location = lab.catalog.other("disk")
    stored = copying.stored_file(location, manifest)
    assert stored is not None
    assert copying.check(location.storage, stored, "disk", no_progress).error
    assert len(sent) <= 3

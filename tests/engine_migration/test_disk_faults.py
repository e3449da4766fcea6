"""Reports of a migration that cannot be written: the run ends with the reason, and nothing was changed."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration import findings, quarantine
from ops.engine_migration.findings import FindingLog
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database


def test_list_of_findings_on_a_full_disk(library: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system writes a part of the lines."""
    support.alter(library, "UPDATE everything SET day = 'someday' WHERE id = 1")
    real = os.write
    monkeypatch.setattr(findings.os, "write", lambda descriptor, content: real(descriptor, content[:10]))
    outcome = support.run(library, database, "--yes", *support.only(library, "everything"))
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"The list of findings cannot be written to {library.parent}/backups: No space left on device. Nothing was"
            " changed.\nMake this directory writable, with space for files, and run the command again."
        ),
    )
    assert database.tables() == []


def test_quarantine_on_a_full_disk(library: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    support.alter(library, "UPDATE everything SET day = 'someday' WHERE id = 1")
    monkeypatch.setattr(quarantine, "write_rows", fail)
    place = library.parent / "refused"
    only = support.only(library, "everything")
    outcome = support.run(library, database, "--yes", "--quarantine", str(place), *only)
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"The refused rows cannot be written to {place}: No space left on device. No row was migrated.\n"
            "Specify a new directory that can be written to and has space."
        ),
    )
    assert not place.exists()
    assert database.tables() == []


def test_findings_of_no_rows_make_no_file(tmp_path: Path) -> None:
    log = FindingLog(path=tmp_path / "missing" / "findings.csv")
    log.flush()
    assert list(tmp_path.iterdir()) == []


def test_directory_of_findings_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = FindingLog(path=tmp_path / "file" / "findings.csv", lines=["x"])
    with pytest.raises(PreconditionFailed, match=r"^The list of findings cannot be written to .*: File exists\."):
        log.flush()

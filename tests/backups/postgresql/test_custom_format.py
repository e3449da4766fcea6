"""Dumps of the custom format, which only pg_restore of their version or a later one reads."""

import io
from pathlib import Path

import pytest

from ops.backups.engines.postgresql import dump_format
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.backups.sources import from_file
from ops.databases.postgres import client_programs
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support

NEWER = {(1, 15): 16, (1, 16): 17, (1, 17): 19, (2, 0): 19}
"""Versions of the format that PostgreSQL 15 does not read, with the version to install."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in which programs are searched: those of four versions, one directory for each."""
    for version in ("14.9", "15.18", "16.4", "17.2"):
        support.write_program(tmp_path / version, "pg_dump", f"echo 'pg_dump (PostgreSQL) {version}'")
        support.write_program(tmp_path / version, "pg_restore", "exit 0")
    monkeypatch.setattr(client_programs, "candidates", lambda: sorted(tmp_path.iterdir()))
    return tmp_path


@pytest.mark.parametrize("version", [(1, 12), (1, 14), (1, 15), (1, 16)])
def test_file_is_read_by_the_newest_program(programs: Path, version: tuple[int, int]) -> None:
    assert dump_format.find_reader(b"PGDMP" + bytes(version), None).version == "17.2"


@pytest.mark.parametrize(
    ("version", "named", "found"),
    [((1, 14), "14.9", "14.9"), ((1, 14), "15.18", "15.18"), ((1, 15), "15.18", "17.2"), ((1, 16), "16.4", "17.2")],
)
def test_named_directory_is_preferred_where_it_is_new_enough(
    programs: Path, version: tuple[int, int], named: str, found: str
) -> None:
    assert dump_format.find_reader(b"PGDMP" + bytes(version), programs / named).version == found


def test_too_old_programs_are_named_with_the_package_to_install(programs: Path) -> None:
    for version in ("14.9", "16.4", "17.2"):
        (programs / version / "pg_dump").unlink()
    with pytest.raises(PreconditionFailed) as refused:
        dump_format.find_reader(b"PGDMP\x01\x10", None)
    assert str(refused.value) == (
        "The dump was made by pg_dump 17 or later, and there is no pg_restore of such a version on this machine"
        f" (found: 15.18 in {programs}/15.18).\n"
        "Install it: apt-get install postgresql-client-17 (Debian), apk add postgresql17-client (Alpine),"
        " dnf install postgresql17 (Red Hat), brew install postgresql@17 (macOS); or name its directory in PG_BIN."
    )


def test_newer_dump_is_refused_and_not_called_damaged(
    engine: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is counted, restored, or read as an untrusted file."""
    dump = bytearray(support.dump_of(engine, Kind.CUSTOM)[0])
    path = tmp_path / "newer.dump"
    found = engine._find_programs()
    monkeypatch.setattr(client_programs, "candidates", lambda: [found.directory])
    reads = [
        lambda: engine.count(io.BytesIO(dump), kind=Kind.CUSTOM, on_progress=no_progress),
        lambda: support.restore(engine, bytes(dump), kind=Kind.CUSTOM),
        lambda: engine.untrusted(from_file(path)),
    ]
    for version, name in NEWER.items():
        dump[5:7] = bytes(version)
        path.write_bytes(dump)
        for read in reads:
            with pytest.raises(PreconditionFailed) as refused:
                read()
            assert refused.value.message.startswith(f"The dump was made by pg_dump {name} or later")
            assert not isinstance(refused.value, ArtifactInvalid)


@pytest.mark.parametrize("dump", [b"", b"PGDMP", b"PGDMP\x01\x0e\x00damaged", b"no dump"])
def test_damaged_file_is_called_damaged(engine: PostgresEngine, dump: bytes) -> None:
    with pytest.raises(ArtifactInvalid, match=r"^The dump cannot be read: pg_restore failed"):
        engine.count(io.BytesIO(dump), kind=Kind.CUSTOM, on_progress=no_progress)

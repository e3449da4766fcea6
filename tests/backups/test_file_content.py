"""Files that users give as backups: each other kind of file is refused with its own name."""

import contextlib
import gzip
import io
import json
import sqlite3
import tarfile
import zipfile

import pyrage
import pytest

from ops.backups.file_content import require_backup
from ops.errors import ArtifactInvalid

DUMP = b"--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n"
NEITHER = ", neither a dump of PostgreSQL nor a SQLite file. Nothing was kept."


def sqlite_file() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE rack (name TEXT)")
        return connection.serialize()


def zip_of(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, content)
    return archive.getvalue()


def tar_of(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def refusal(content: bytes, name: str = "lab.bin") -> ArtifactInvalid:
    with pytest.raises(ArtifactInvalid) as caught:
        require_backup(name, lambda: io.BytesIO(content), outcome="Nothing was kept.")
    return caught.value


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"Buy a rack.\n", "a text file"),
        ("Ein Gestell für mich".encode() * 10_000, "a text file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "a JPEG image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an XML or HTML file"),
        (b"%PDF-1.7\n", "a PDF document"),
        (zip_of("lab.sql", DUMP), "a ZIP archive"),
        (tar_of("lab/toc.dat", b"PGDMP"), "a tar archive"),
        (tar_of("toc.dat", b"PGDMP"), "a dump in pg_dump's tar format"),
        (gzip.compress(tar_of("lab.sql", DUMP)), "a gzip file that contains a tar archive"),
        (gzip.compress(b"Buy a rack."), "a gzip file that contains a text file"),
        (gzip.compress(b""), "a gzip file that contains nothing"),
        (json.dumps({"racks": [1, 2]}).encode(), "a JSON file"),
        (b"-- MySQL dump 10.13  Distrib 8.0.36\n--\n-- Host: localhost\n", "a dump of MySQL or MariaDB"),
        (b"/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19\n", "a dump of MySQL or MariaDB"),
        (
            b"--\n-- PostgreSQL database cluster dump\n--\n",
            "a dump of all databases of a server, as pg_dumpall writes it",
        ),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "SQL text, as the SQLite shell writes it"),
        (b"\xfd7zXZ\x00" + bytes(50), "a file that is compressed with xz"),
        (bytes(range(256)), "a file of an unknown kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_other_file_is_refused_with_its_kind(content: bytes, what: str) -> None:
    assert refusal(content).message == f"lab.bin is {what}{NEITHER}"


@pytest.mark.parametrize("armored", [False, True])
def test_encrypted_file_is_refused_with_the_command_that_decrypts_it(armored: bool) -> None:
    person = pyrage.x25519.Identity.generate().to_public()
    error = refusal(pyrage.encrypt(DUMP, [person], armored=armored), "lab.sql.age")
    assert error.message == f"lab.sql.age is a file that is encrypted with age{NEITHER}"
    assert error.hint.endswith(": age -d -i key.txt -o backup FILE")


def test_empty_file_is_refused_as_empty() -> None:
    assert refusal(b"").message == "lab.bin is empty. Nothing was kept."


def test_truncated_gzip_file_is_refused_as_truncated() -> None:
    error = refusal(gzip.compress(DUMP)[:-10])
    assert error.message == "lab.bin is truncated: it ends within its compressed data. Nothing was kept."
    assert error.hint == "Copy it again, and compare its size with that of the original."


@pytest.mark.parametrize("content", [DUMP, sqlite_file(), b"PGDMP\x01\x0e"], ids=["plain", "SQLite", "custom"])
def test_dumps_and_sqlite_files_are_accepted(content: bytes) -> None:
    for file in (content, gzip.compress(content)):
        require_backup("lab", lambda file=file: io.BytesIO(file), outcome="Nothing was kept.")

"""What a file is that a user gives as a backup, by its first bytes, to refuse other files with their right names."""

from typing import NamedTuple

from ops.backups.compression import decompressed
from ops.backups.manifest import Kind
from ops.backups.sources import CUSTOM, GZIP, SQLITE, Opener
from ops.errors import ArtifactInvalid

HEAD = 1 << 16
"""Bytes that are looked at. pg_dump writes its name into the second line."""
PLAIN_DUMP = b"PostgreSQL database dump"
TAR = slice(257, 262)
CONTROLS = bytes({*range(32)} - {*b"\t\n\r\f\x1b"})
GZIP_FILE = "The backup's file"
"""How `decompressed` calls the file in its errors."""
COPY_AGAIN = "Copy it again, and compare its size with that of the original."
EXTRACT = "Extract it, and choose the dump or the SQLite file in it."
DECOMPRESS = "Decompress it, and choose the result."


class Content(NamedTuple):
    """What a file is, with an article, and what to do with it; '' where there is nothing to advise."""

    what: str
    hint: str = ""


AGE = Content(
    "a file that is encrypted with age",
    "Decrypt it where its secret key is, and choose the result: age -d -i key.txt -o backup FILE",
)
MYSQL = Content("a dump of MySQL or MariaDB")
SIGNATURES = (
    (b"age-encryption.org/", AGE),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", AGE),
    (b"PK\x03\x04", Content("a ZIP archive", EXTRACT)),
    (b"PK\x05\x06", Content("an empty ZIP archive")),
    (b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", EXTRACT)),
    (b"BZh", Content("a file that is compressed with bzip2", DECOMPRESS)),
    (b"\xfd7zXZ\x00", Content("a file that is compressed with xz", DECOMPRESS)),
    (b"\x28\xb5\x2f\xfd", Content("a file that is compressed with Zstandard", DECOMPRESS)),
    (b"\x89PNG", Content("a PNG image")),
    (b"\xff\xd8\xff", Content("a JPEG image")),
    (b"GIF8", Content("a GIF image")),
    (b"%PDF-", Content("a PDF document")),
)
"""The first bytes of files."""
PHRASES = (
    (b"PostgreSQL database cluster dump", Content("a dump of all databases of a server, as pg_dumpall writes it")),
    (b"-- MySQL dump", MYSQL),
    (b"-- MariaDB dump", MYSQL),
    (b"BEGIN TRANSACTION;", Content("SQL text, as the SQLite shell writes it", "Choose the SQLite file itself.")),
)
"""What text files have in their first lines."""


def require_backup(name: str, opener: Opener, *, outcome: str) -> None:
    """Raises ArtifactInvalid for a file that is neither a dump of PostgreSQL nor a SQLite file, compressed or not.

    `outcome` is a sentence that ends the message, such as "Nothing was kept." Later parts of the file are not read.
    """
    with opener() as file:
        head = file.read(HEAD)
    if not head:
        raise ArtifactInvalid(f"{name} is empty. {outcome}", "Choose another file.")
    is_gzip = head.startswith(GZIP)
    try:
        content = identify(gzip_head(opener) if is_gzip else head)
    except ArtifactInvalid as error:
        # Only the beginning was read, so the file is short, or damaged from its beginning on.
        raise ArtifactInvalid(f"{error.message.replace(GZIP_FILE, name)} {outcome}", COPY_AGAIN) from error
    if content:
        what = f"a gzip file that contains {content.what}" if is_gzip else content.what
        raise ArtifactInvalid(
            f"{name} is {what}, neither a dump of PostgreSQL nor a SQLite file. {outcome}", content.hint
        )


def gzip_head(opener: Opener) -> bytes:
    with opener() as file, decompressed(file, Kind.SQL_GZIP) as stream:
        return stream.read(HEAD)


def identify(head: bytes) -> Content | None:
    """What a file with this beginning is; None for a dump of PostgreSQL and a SQLite file."""
    if head.startswith((SQLITE, CUSTOM)):
        return None
    if head[TAR] == b"ustar":
        return archive(head)
    # Archives and encrypted files come first: they may contain a dump.
    for start, content in SIGNATURES:
        if head.startswith(start):
            return content
    return None if PLAIN_DUMP in head else text_or_bytes(head)


def archive(head: bytes) -> Content:
    """pg_dump's own tar format begins with its table of contents; a directory of pg_dump may be packed in any order."""
    if head.startswith(b"toc.dat\0"):
        return Content("a dump in pg_dump's tar format", "Dump the database again: pg_dump --format=custom")
    return Content("a tar archive", EXTRACT)


def text_or_bytes(head: bytes) -> Content:
    if not head:
        return Content("nothing")
    try:
        # The last character may be cut.
        text = head.decode(errors="strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        text = ""
    if not text or head.translate(None, CONTROLS) != head:
        return Content("a file of an unknown kind")
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return Content("a JSON file")
    if text.lstrip().startswith(("<svg", "<?xml", "<!DOCTYPE", "<html")):
        return Content("an XML or HTML file")
    return next((content for phrase, content in PHRASES if phrase in head), None) or Content("a text file")

"""The statements of a signed dump that are executed: all that pg_dump writes, and no others."""

import re

from ops.backups.engines.postgresql.dump_reader import NAME, Statement
from ops.errors import ArtifactInvalid

SKIPPED = re.compile(
    rb"SET transaction_timeout = \d+;"  # written by pg_dump 17 and later, unknown to older servers
    rb"|COMMENT ON EXTENSION .*;"  # only its owner may set it, and it is the default
    rb"|CREATE SCHEMA public;"
    rb"|(?:CREATE|COMMENT ON) CAST \([^']*\bops_undo\.[^']*[;'].*"  # of the previous schema after a schema swap
    rb"|ALTER [^']* OWNER TO " + NAME + rb";|(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) [^']*;",
    re.DOTALL,
)
"""Privileges and owners belong to the installation, not to the content; our own dumps have none."""
TRANSACTIONS = re.compile(rb"(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE)\b", re.IGNORECASE)
AROUND_LARGE_OBJECTS = (b"BEGIN;", b"COMMIT;")
ENCODING = re.compile(rb"SET client_encoding = '(?P<name>[^']*)';")
ENCODINGS = frozenset({"UTF8", "SQL_ASCII", "LATIN1", "LATIN9", "WIN1252"})
"""Encodings in which no byte of a multibyte character is a quote or a backslash."""
QUOTES = re.compile(rb"SET standard_conforming_strings = (?!on;)")


def allow_statement(statement: Statement) -> bool:
    """Whether to execute it; False for a skipped one. Raises ArtifactInvalid for what pg_dump does not write."""
    text = statement.text
    if SKIPPED.fullmatch(text):
        return False
    if TRANSACTIONS.match(text):
        if text in AROUND_LARGE_OBJECTS:
            return False
        raise rejected(statement)
    encoding = ENCODING.fullmatch(text)
    if QUOTES.match(text) or (encoding and encoding["name"].decode() not in ENCODINGS):
        raise rejected(statement)
    return True


def rejected(statement: Statement) -> ArtifactInvalid:
    return ArtifactInvalid(
        f"The dump contains a statement that pg_dump does not write: {statement.beginning}",
        "Nothing was changed. Create the file with plain pg_dump (without --inserts), or load it by hand.",
    )

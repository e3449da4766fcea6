"""Which statements of a dump are run that this installation has signed: all that pg_dump writes."""

import re

from ops.backups.engines.postgresql.dump_reader import NAME, Statement
from ops.errors import ArtifactInvalid

SKIPPED = re.compile(
    rb"SET transaction_timeout = \d+;"  # written by pg_dump 17 and later, unknown to older servers
    rb"|COMMENT ON EXTENSION .*;"  # needs the extension's owner, and says what the extension says of itself
    rb"|CREATE SCHEMA public;"
    rb"|ALTER [^']* OWNER TO " + NAME + rb";|(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) [^']*;",
    re.DOTALL,
)
"""Rights and owners belong to where a database is, not to its content; our own dumps name none."""
TRANSACTIONS = re.compile(rb"(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE)\b", re.IGNORECASE)
AROUND_LARGE_OBJECTS = (b"BEGIN;", b"COMMIT;")
ENCODING = re.compile(rb"SET client_encoding = '(?P<name>[^']*)';")
ENCODINGS = frozenset({"UTF8", "SQL_ASCII", "LATIN1", "LATIN9", "WIN1252"})
"""In which no byte of a longer character looks like a quote or a backslash."""
QUOTES = re.compile(rb"SET standard_conforming_strings = (?!on;)")


def allow_statement(statement: Statement) -> bool:
    """Whether to run it; False for what is passed over. Raises ArtifactInvalid for what has no place in a dump."""
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
        f"The dump holds a statement that pg_dump does not write: {statement.beginning}",
        "Nothing was changed. Make the file with pg_dump as it is (plain, without --inserts), or load it by hand.",
    )

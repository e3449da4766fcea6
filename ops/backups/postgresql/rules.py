"""Which statements of a dump are run: all that pg_dump writes in our own files; very few in those of others."""

import re

from ops.backups.postgresql.reader import NAME, TOKEN, Statement, split_names
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

# --- Files of others ------------------------------------------------------------------------------------------
PATH = NAME + rb"(?:\." + NAME + rb")?"
PLAIN_SETTINGS = (
    rb"statement_timeout|lock_timeout|idle_in_transaction_session_timeout|client_encoding|client_min_messages"
    rb"|standard_conforming_strings|check_function_bodies|xmloption|row_security|default_tablespace"
    rb"|default_table_access_method|default_with_oids"
)
SETTINGS_AND_SEQUENCES = re.compile(
    rb"SET (?:" + PLAIN_SETTINGS + rb") = (?:\w+|'[^']*');"
    rb"|SELECT pg_catalog\.set_config\('search_path', '', false\);"
    rb"|SELECT pg_catalog\.setval\('[^']+', -?\d+, (?:true|false)\);"
)
TABLES = re.compile(
    rb"CREATE EXTENSION IF NOT EXISTS " + NAME + rb" WITH SCHEMA " + NAME + rb";"
    rb"|CREATE SCHEMA " + NAME + rb";"
    rb"|CREATE TYPE " + PATH + rb" AS (?:ENUM )?\(.*"
    rb"|COMMENT ON .*"
    rb"|(?:CREATE (?:UNLOGGED )?TABLE|CREATE SEQUENCE|CREATE DOMAIN|CREATE (?:UNIQUE )?INDEX|CREATE STATISTICS"
    rb"|ALTER TABLE|ALTER SEQUENCE|ALTER INDEX) .*",
    re.DOTALL,
)
CALL = re.compile(
    rb"(?:(?P<before>[A-Za-z_]+)\s+)?(?P<path>" + NAME + rb"(?:\s*\.\s*" + NAME + rb")*)\s*\(", re.IGNORECASE
)
NAMES_COME_AFTER = frozenset({"table", "references", "exists"})
WORDS_OF_THE_GRAMMAR = """
    all and any array as brin btree by case check cost default else enum exclude extract for from gin gist hash identity
    in include is key like list not of on or over partition range row set some spgist then to unique using values when
    where with
"""
TYPES = """
    bit bpchar char character decimal float interval numeric time timestamp timestamptz varbit varchar varying vector
"""
FUNCTIONS = """
    abs array_length array_position btrim cardinality ceil char_length clock_timestamp coalesce concat date_part
    date_trunc floor gen_random_uuid greatest jsonb_array_length jsonb_build_array jsonb_build_object jsonb_typeof
    least left length lower ltrim make_date md5 mod nextval now nullif octet_length position power replace right round
    rtrim statement_timestamp strpos substr substring timezone to_tsvector transaction_timestamp trim upper
    uuid_generate_v4
"""
HARMLESS = frozenset((WORDS_OF_THE_GRAMMAR + TYPES + FUNCTIONS).split())
"""What may stand before a parenthesis."""


def admit(statement: Statement, *, trusted: bool) -> bool:
    """Whether to run it; False for what is passed over. Raises ArtifactInvalid for what has no place in a dump."""
    text = statement.text
    if SKIPPED.fullmatch(text):
        return False
    if TRANSACTIONS.match(text):
        if trusted and text in AROUND_LARGE_OBJECTS:
            return False
        raise refused(statement)
    encoding = ENCODING.fullmatch(text)
    if QUOTES.match(text) or (encoding and encoding["name"].decode() not in ENCODINGS):
        raise refused(statement)
    if not trusted:
        require_harmless(statement)
    return True


def require_harmless(statement: Statement) -> None:
    """Raises ArtifactInvalid unless it only makes tables, and what they compute calls known functions only.

    A default or a check of a table is run by whoever writes to the table later, which may be a superuser.
    """
    if SETTINGS_AND_SEQUENCES.fullmatch(statement.text):
        return
    if not TABLES.fullmatch(statement.text):
        raise refused(statement)
    for call in CALL.finditer(without_literals(statement)):
        *_, name = split_names(call["path"].decode(errors="replace"))
        before = (call["before"] or b"").decode().lower()
        if name.lower() not in HARMLESS and before not in NAMES_COME_AFTER:
            raise refused(statement, f" (it calls {name})")


def without_literals(statement: Statement) -> bytes:
    """The statement with every text in it emptied. Raises ArtifactInvalid for comments: pg_dump writes none there."""
    parts, position = [], 0
    for token in TOKEN.finditer(statement.text):
        if token[0].startswith((b"--", b"/*", b"$")):
            raise refused(statement)
        if token[0].endswith(b"'"):
            parts += [statement.text[position : token.start()], b"''"]
            position = token.end()
    return b"".join([*parts, statement.text[position:]])


def refused(statement: Statement, why: str = "") -> ArtifactInvalid:
    return ArtifactInvalid(
        f"The dump holds a statement that has no business in it{why}: {statement.beginning}",
        "Nothing was changed. Make the file with pg_dump as it is (plain, without --inserts), or load it by hand.",
    )

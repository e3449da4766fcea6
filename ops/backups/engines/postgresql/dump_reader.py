"""Reads pg_dump's plain SQL: statements, and the rows of COPY blocks as raw bytes.

Nothing is executed here, and no Python code runs for each row. Meta-commands of psql are refused.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.errors import ArtifactInvalid

MARKER = b"-- PostgreSQL database dump complete"
"""The line after the last statement. Since 15.14 ``\\unrestrict`` follows."""
MAX_STATEMENT = 1 << 30
"""Bytes, as in PostgreSQL."""
MAX_COPY = 1 << 18
"""Bytes of a COPY statement: 1,600 columns, the most that a table has, with the longest names."""
END_OF_ROWS = b"\\.\n"
NAME = rb'(?:[a-z_\x80-\xff][a-z0-9_$\x80-\xff]*+|"(?:[^"]++|"")++")'
COPY = re.compile(
    rb"COPY (?P<table>" + NAME + rb"(?:\." + NAME + rb")?) (?:\((?P<columns>.*)\))? ?FROM stdin;", re.DOTALL
)
SPACE = re.compile(rb"\s*")
RESTRICT = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]+\s*")
# Possessive quantifiers, and a token for every character, avoid backtracking: a literal of 10 MB took 1.4 GB without
# them.
TOKEN = re.compile(
    rb"""[^'"$\-/;()\\A-Za-z_\x80-\xff]*+(?:"""
    rb"""(?P<skip>--[^\n]*+\n|[eE]'(?:[^'\\]++|\\.|'')*+'|'(?:[^']++|'')*+'|"(?:[^"]++|"")*+")"""
    rb"""|(?P<comment>/\*)|(?P<dollar>\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*+)?\$)"""
    rb"""|(?P<word>[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+)|(?P<open>\(++)|(?P<close>\)++)|(?P<end>;)"""
    rb"""|(?P<backslash>\\)|(?P<unfinished>--|'|"|\Z)|(?P<lone>[-/$]))""",
    re.DOTALL,
)
ROUTINE = re.compile(rb"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)\b")
ATOMIC = re.compile(rb"\s+ATOMIC\b", re.IGNORECASE)
COMMENT = re.compile(rb"/\*|\*/")


@dataclass(frozen=True)
class Statement:
    """One statement with its semicolon, in the encoding of the dump."""

    text: bytes

    def __str__(self) -> str:
        return self.text.decode(errors="replace")

    @property
    def beginning(self) -> str:
        """Its first 80 characters, for messages."""
        words = " ".join(self.text[:1000].decode(errors="replace").split())
        return words if len(words) < 80 else f"{words[:80]} …"


class CopyBlock:
    """The rows of one table: a file for ``copy_expert``. Read it to its end before asking for the next item."""

    def __init__(self, reader: "DumpReader", statement: bytes, match: re.Match[bytes]) -> None:
        self._reader = reader
        try:
            self.statement = statement.decode()
        except UnicodeDecodeError as error:
            raise ArtifactInvalid(f"The dump is not in UTF-8: {Statement(statement).beginning}") from error
        self.name = match["table"].decode()
        self.table = table_name(self.name)
        self.columns = tuple(split_names((match["columns"] or b"").decode()))
        self.rows = 0
        self.size = 0
        """Bytes read so far."""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of rows. Raises ArtifactInvalid where the dump ends within them."""
        chunk = self._reader.read_rows(size)
        self.rows += chunk.count(b"\n")
        self.size += len(chunk)
        return chunk


Item = Statement | CopyBlock


def split_names(text: str) -> list[str]:
    """The bare names in a list (or dotted path) of identifiers."""
    found = re.findall(r'"((?:[^"]++|"")++)(?:"|$)|([^\s,."]++)', text)
    return [quoted.replace('""', '"') or bare for quoted, bare in found]


def table_name(path: str) -> str:
    """The name in manifests: ``table`` in the schema ``public``, ``schema.table`` in others."""
    names = split_names(path)
    return names[-1] if names[0] == "public" or len(names) == 1 else ".".join(names)


def truncated_dump() -> ArtifactInvalid:
    return ArtifactInvalid("The dump is truncated: its end is missing.", "Choose another backup; this one is damaged.")


class DumpReader:
    """Iterates over the items of a dump that is read from `chunks`. `complete`: it ended with pg_dump's marker."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._position = 0
        self._in_rows = False
        self._at_line_start = True
        self.complete = False
        self.size = 0
        """Bytes read from `chunks` so far."""

    def __iter__(self) -> Iterator[Item]:
        """All items. At the end raises ArtifactInvalid unless the dump is complete."""
        while self._skip_to_statement():
            statement = self._read_statement()
            if not statement.startswith(b"COPY"):
                yield Statement(statement)
                continue
            match = COPY.fullmatch(statement) if len(statement) <= MAX_COPY else None
            if match is None:
                raise ArtifactInvalid(f"The dump contains an unknown form of COPY: {Statement(statement).beginning}")
            self._begin_rows()
            yield CopyBlock(self, statement, match)
            while self._in_rows:
                self.read_rows(1 << 20)
        if not self.complete:
            raise truncated_dump()

    def blocks(self) -> Iterator[CopyBlock]:
        """The COPY blocks alone."""
        return (item for item in self if isinstance(item, CopyBlock))

    def _fill(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        self.size += len(chunk)
        return bool(chunk)

    def _grow(self) -> bool:
        """Double the buffer, so that a long statement is not scanned again for every chunk."""
        wanted = 2 * (len(self._buffer) - self._position)
        parts = [self._buffer[self._position :]]
        size = len(parts[0])
        while size <= wanted and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            size += len(chunk)
            self.size += len(chunk)
        self._buffer, self._position = b"".join(parts), 0
        return len(parts) > 1

    def _skip_to_statement(self) -> bool:
        """Skip white space, comments and ``\\restrict`` lines. False at the end of the dump."""
        while True:
            self._position = SPACE.match(self._buffer, self._position).end()  # type: ignore[union-attr]
            if len(self._buffer) - self._position < 2 and self._fill():
                continue
            if self._position == len(self._buffer):
                return False
            if self._buffer.startswith(b"--", self._position):
                self.complete = self._read_line().rstrip() == MARKER or self.complete
            elif self._buffer.startswith(b"\\", self._position):
                if not RESTRICT.fullmatch(line := self._read_line()):
                    raise reject_meta_command(line)
            else:
                self.complete = False
                return True

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n", self._position)) < 0:
            if not self._grow():
                end = len(self._buffer) - 1
                break
        line = self._buffer[self._position : end + 1]
        self._position = end + 1
        return line

    def _read_statement(self) -> bytes:
        while (end := find_end(self._buffer, self._position)) is None:
            if len(self._buffer) - self._position > MAX_STATEMENT:
                raise ArtifactInvalid("The dump contains a statement of more than 1 GB.")
            if not self._grow():
                raise truncated_dump()
        statement = self._buffer[self._position : end]
        self._position = end
        return statement

    def _begin_rows(self) -> None:
        if self._read_line().strip():
            raise ArtifactInvalid("The dump contains text after COPY … FROM stdin; in the same line.")
        self._in_rows = self._at_line_start = True

    def read_rows(self, size: int) -> bytes:
        """The next bytes of the current rows, at most `size` (no limit below 0); empty at their end."""
        while self._in_rows:
            if self._at_line_start and self._buffer.startswith(END_OF_ROWS, self._position):
                self._position += len(END_OF_ROWS)
                self._in_rows = False
                break
            end = self._buffer.find(b"\n" + END_OF_ROWS, self._position) + 1
            # The last bytes may be the beginning of the end marker.
            safe = end or len(self._buffer) - len(END_OF_ROWS)
            if safe > self._position:
                return self._take(safe if size < 0 else min(safe, self._position + size))
            if not self._fill():
                raise truncated_dump()
        return b""

    def _take(self, end: int) -> bytes:
        chunk = self._buffer[self._position : end]
        self._position = end
        self._at_line_start = chunk.endswith(b"\n")
        return chunk


def reject_meta_command(line: bytes) -> ArtifactInvalid:
    words = line.decode(errors="replace").strip()[:80]
    return ArtifactInvalid(
        f"The dump contains a psql meta-command, which could run any program: {words}",
        "Nothing of it was executed. Do not use this file unless you know who wrote it.",
    )


def find_end(text: bytes, start: int) -> int | None:
    """The position after the semicolon of the statement that begins at `start`; None when `text` ends before.

    Follows psql's rules: quotes, dollar quotes, comments, parentheses, and the bodies of SQL functions.
    """
    position: int | None = start
    depth, body = 0, 0
    routine = ROUTINE.match(text, start) is not None
    while position is not None and (token := TOKEN.match(text, position)):
        kind = token.lastgroup
        if kind == "end" and depth <= 0 and body == 0:
            return token.end()
        if kind == "word" and routine:
            body = follow_body(text, token, body, depth)
        depth += len(token["open"] or b"") - len(token["close"] or b"")
        position = skip(text, token)
    return None


def skip(text: bytes, token: re.Match[bytes]) -> int | None:
    """The position after `token` and what it opens; None when `text` ends within that."""
    match token.lastgroup:
        case "dollar":
            end = text.find(token["dollar"], token.end())
            return end + len(token["dollar"]) if end >= 0 else None
        case "comment":
            return skip_comment(text, token.end())
        case "unfinished":
            return None
        case "backslash":
            raise reject_meta_command(text[token.start("backslash") : token.start("backslash") + 80])
    return token.end()


def follow_body(text: bytes, token: re.Match[bytes], body: int, depth: int) -> int:
    """The depth of BEGIN ATOMIC … END, in which semicolons do not end the statement.

    BEGIN and ATOMIC may be names, also of parameters (``f(begin date)``). CASE and END may not: pg_dump quotes those.
    """
    word = token["word"].upper()
    if body:
        return body + (word == b"CASE") - (word == b"END")
    return int(word == b"BEGIN" and depth == 0 and ATOMIC.match(text, token.end()) is not None)


def skip_comment(text: bytes, position: int) -> int | None:
    """The end of a comment that begins before `position`; comments nest."""
    depth = 1
    while depth:
        delimiter = COMMENT.search(text, position)
        if delimiter is None:
            return None
        depth += 1 if delimiter[0] == b"/*" else -1
        position = delimiter.end()
    return position


# --- Rows of several blocks -----------------------------------------------------------------------------------
def read_columns(
    blocks: Iterable[CopyBlock], columns: Mapping[str, Sequence[str]], *, most: float = math.inf
) -> dict[str, list[tuple[str | None, ...]]]:
    """All rows of the tables in `columns`; a table that lacks one of them is left out.

    Raises ArtifactInvalid for a table with more than `most` rows.
    """
    found: dict[str, list[tuple[str | None, ...]]] = {}
    lacking = set()
    for block in blocks:
        wanted = columns.get(block.table)
        if wanted and not set(wanted) <= set(block.columns):
            lacking.add(block.table)
        elif wanted:
            # A dump may bring the rows of a table in several blocks.
            rows = found.setdefault(block.table, [])
            for row in column_rows(block, wanted):
                rows.append(row)
                if len(rows) > most:
                    raise ArtifactInvalid(f"{block.table} has more than {most:,} rows. Nothing was changed.")
    return {table: rows for table, rows in found.items() if table not in lacking}


# --- Values ---------------------------------------------------------------------------------------------------
ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def column_rows(block: CopyBlock, columns: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    """The values of `columns` in each row of the block, as text; None for NULL."""
    numbers = [block.columns.index(column) for column in columns]
    for line in lines_of(block):
        values = line.split(b"\t")
        if len(values) != len(block.columns):
            raise ArtifactInvalid(f"The dump is damaged: a row of {block.table} has {len(values)} values.")
        yield tuple(decode_value(values[number]) for number in numbers)


def lines_of(block: CopyBlock) -> Iterator[bytes]:
    """The rows of the block without line ends; COPY escapes line ends within values."""
    parts: list[bytes] = []
    while chunk := block.read(1 << 20):
        first, *others = chunk.split(b"\n")
        parts.append(first)
        for line in others:
            yield b"".join(parts)
            parts = [line]


def decode_value(value: bytes) -> str | None:
    """A value of COPY's text format (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format")."""
    if value == b"\\N":
        return None
    if b"\\" in value:
        value = ESCAPE.sub(unescape, value)
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ArtifactInvalid("The dump holds text that is not UTF-8.", "Choose another backup.") from error


def unescape(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    if code.startswith(b"x") and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code.isdigit() and code < b"8":
        return bytes([int(code, 8) & 0xFF])
    return ESCAPES.get(code, code)

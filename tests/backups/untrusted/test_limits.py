"""The process that reads a file is limited in memory, time and disk."""

import gzip
import io
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.backups.untrusted import process
from ops.errors import ArtifactInvalid

END = b"\n-- PostgreSQL database dump complete\n"
COPY = b"COPY public.django_migrations (id, app, name, applied) FROM stdin;\n"
TOO_LARGE = "decompresses to more than 34 MB"


def survey(data: bytes, kind: str = "sql", **limits: int) -> Any:
    given = process.Limits(**{**vars(process.limits_for(len(data))), **limits})
    return process.call("survey_dump", limits=given, feed=io.BytesIO(data), kind=kind)


@pytest.mark.parametrize(
    "text",
    [
        lambda: b"SELECT '" + b"a" * 10_000_000 + b"';",
        lambda: b"SELECT '" + b"''" * 5_000_000 + b"';",
        lambda: b"CREATE INDEX " + b"a" * 40_000 + b"(x);",
        lambda: b"SELECT " + b"(" * 10_000_000 + b")" * 10_000_000 + b";",
        lambda: b"SELECT " + b"$a$b$" * 1_000_000 + b";",
        lambda: b"-- " + b"x" * 10_000_000 + b"\n",
        lambda: b"\n" * 10_000_000,
    ],
    ids=["literal", "quotes", "identifier", "parentheses", "dollars", "comment", "lines"],
)
def test_long_texts_stay_within_memory_and_time(text: Callable[[], bytes]) -> None:
    data = gzip.compress(text() + END, 1)
    assert survey(data, "sql.gz", memory=256 << 20, cpu=10) == {"migrations": [], "rows": {}}


@pytest.mark.parametrize("kind", ["sql.gz", "sqlite3.gz"])
def test_file_that_decompresses_to_far_more_is_refused(kind: str, tmp_path: Path) -> None:
    data, path = gzip.compress(bytes(80_000_000), 9), tmp_path / "unpacked"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task, given = ("survey_dump", {}) if kind == "sql.gz" else ("unpack_sqlite", {"path": str(path)})
    limits = process.limits_for(len(data))
    with pytest.raises(ArtifactInvalid, match=TOO_LARGE):
        process.call(task, limits=limits, feed=io.BytesIO(data), kind=kind, **given)
    assert not path.exists() or path.stat().st_size <= 34_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


class Endless(io.RawIOBase):
    """A literal that never ends."""

    def __init__(self) -> None:
        self.left = 500

    def read(self, _size: int = -1) -> bytes:
        self.left -= 1
        return b"SELECT '" if self.left == 499 else b"a" * (1 << 20) if self.left else b""


def test_memory_is_limited() -> None:
    limits = process.Limits(unpacked=1 << 30, cpu=30, memory=200 << 20)
    with pytest.raises(ArtifactInvalid, match="takes more than 209 MB of memory"):
        process.call("survey_dump", limits=limits, feed=Endless(), kind="sql")  # type: ignore[arg-type]


def test_cpu_time_is_limited() -> None:
    data = b"SELECT " + b"a b " * 7_000_000 + b";" + END
    with pytest.raises(ArtifactInvalid, match="it took more than 1 s of CPU time"):
        survey(data, cpu=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"INSERT INTO public.racks VALUES (1);", "contains rows as INSERT statements"),
        (b"SET client_encoding = SJIS;", "not in UTF-8"),
        (b"SET client_encoding = 'SJIS';", "not in UTF-8"),
        (b"set session client_encoding to latin1;", "not in UTF-8"),
        (b"SELECT pg_catalog.set_config('client_encoding', 'SJIS', false);", "not in UTF-8"),
        (b"\\! touch file", "a psql meta-command"),
        (b"COPY public.racks TO PROGRAM 'touch file';", "an unknown form of COPY"),
        (b"COPY public.racks FROM PROGRAM 'touch file';", "an unknown form of COPY"),
        (COPY + b"1\ta\t\\N\tx\n\\.\n", "names of its migrations are invalid"),
        (COPY + b"1\ta\n\\.\n", "has 2 values"),
        (COPY + b"1\ta\tb\tc\n" * 20_001 + b"\\.\n", "more than 20,000 migrations"),
        (COPY + b"1\ta\tb\tc\n", "is damaged: a row of django_migrations has 1 values"),
        (b";" * 250_001, "more than 250,000 statements"),
    ],
)
def test_statement_that_would_change_rows_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(ArtifactInvalid, match=words):
        survey(text + END)


@pytest.mark.parametrize("kind", ["sql.gz", "sqlite3.gz", "dump"])
def test_damaged_file_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    task, given = {
        "dump": ("survey_dump", {"pg_restore": "/bin/false"}),
        "sql.gz": ("survey_dump", {}),
        "sqlite3.gz": ("unpack_sqlite", {"path": str(tmp_path / "file")}),
    }[kind]
    limits = process.limits_for(100)
    data = gzip.compress(b"SELECT 1;" * 1000)[:-9] if kind != "dump" else b"PGDMP" + bytes(100)
    with pytest.raises(ArtifactInvalid):
        process.call(task, limits=limits, feed=io.BytesIO(data), kind=kind, **given)


def test_error_of_the_feed_is_raised() -> None:
    class Broken(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise ArtifactInvalid("The stored file is not the one of its manifest.")

    with pytest.raises(ArtifactInvalid, match="not the one of its manifest"):
        process.call("survey_dump", limits=process.limits_for(0), feed=Broken(), kind="sql")  # type: ignore[arg-type]

"""How a project describes the SQLite files of another program, so that they can be migrated like its own.

The setting ``OPS_LEGACY_FORMAT`` is the dotted path of a `LegacyFormat`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LegacyColumn:
    """Where the value of one column of ours comes from.

    `source` is the legacy column; empty if `expression` needs none.
    `expression` is SQL over the legacy row in which ``{}`` stands for the quoted `source`.
    `values` maps stored values to ours; every other value except NULL is refused.
    `lookup` ``(table, column)``: the value is looked up in that column of a seeded table, whose primary key is stored.
    """

    source: str = ""
    expression: str = "{}"
    values: Mapping[str, str | int] | None = None
    lookup: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class LegacyTable:
    """One table `source`, of the file or of `LegacyFormat.prepare`, read into our table `target`.

    Columns that are not in `columns` are read from the legacy column of the same name. `where` (SQL) picks rows.
    `dropped` maps each legacy column that is not migrated to the reason. `files` maps columns of `source` to the text,
    such as ``/uploads/``, with which values begin that name files in the media directory of the program.

    A table of `LegacyFormat.prepare` also has `made_of`: the tables of the file from which its rows come, for messages,
    that with the same primary keys first. `origin` is a query that finds a cell in the file: from ``:row``, the number
    of a row of `source`, and ``:column`` it selects the table, the primary key and the column there.
    """

    source: str
    target: str
    columns: Mapping[str, LegacyColumn] = field(default_factory=dict)
    where: str = ""
    dropped: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    made_of: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class LegacyFormat:
    """A file format, recognized by the tables of `signature` (and no ``django_migrations``)."""

    name: str
    signature: frozenset[str]
    tables: tuple[LegacyTable, ...]
    not_migrated: Mapping[str, str] = field(default_factory=dict)
    """Legacy tables that are not migrated, with the reason."""
    prepare: tuple[str, ...] = ()
    """SQL that makes tables from those of the file, where rows of ours need several of them (`prepared_tables`)."""

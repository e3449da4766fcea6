"""How a project describes files that another program wrote, so that they can be moved like its own.

A project hands its description over in the setting ``OPS_LEGACY_FORMAT`` (a dotted path to a `LegacyFormat`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LegacyColumn:
    """Where the value of one of our columns comes from.

    `source` names the legacy column; empty means that `expression` needs none.
    `expression` is SQL over the legacy row in which ``{}`` stands for the quoted `source`.
    `values` says what each stored value is called here; every other value except NULL is refused by name.
    `lookup` ``(table, column)``: the values are those of that column in that seeded table; its primary key is stored.
    """

    source: str = ""
    expression: str = "{}"
    values: Mapping[str, str | int] | None = None
    lookup: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class LegacyTable:
    """One legacy table `source` read into our table `target`.

    Columns that are not in `columns` are read from the legacy column of the same name. `where` (SQL) picks rows.
    `dropped` maps each legacy column that is left behind to the reason.
    """

    source: str
    target: str
    columns: Mapping[str, LegacyColumn] = field(default_factory=dict)
    where: str = ""
    dropped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LegacyFormat:
    """A kind of file. It is recognised when it has all tables of `signature` (and no ``django_migrations``)."""

    name: str
    signature: frozenset[str]
    tables: tuple[LegacyTable, ...]
    not_carried: Mapping[str, str] = field(default_factory=dict)
    """Legacy tables that are left behind on purpose, with the reason."""

"""Names of tables and columns in SQL."""

import re


def quoted(name: str) -> str:
    """`name` as an identifier, in SQLite and PostgreSQL alike."""
    return '"' + name.replace('"', '""') + '"'


def quoted_if_needed(name: str) -> str:
    """As quote_ident, except for words of SQL."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)

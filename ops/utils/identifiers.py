"""Names of tables and columns in SQL."""


def quoted(name: str) -> str:
    """`name` as an identifier, in SQLite and PostgreSQL alike."""
    return '"' + name.replace('"', '""') + '"'

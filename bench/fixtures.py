"""Migrations from SQLite to PostgreSQL: `migrate_to_postgres` against Django's own way, of 100,000 rows at most, once.

``dumpdata`` writes a fixture, and ``loaddata`` reads it into the tables that Django creates.
"""

import sys

from bench.lab_file import django, environment, file_of
from bench.measuring import measure
from bench.results import Results, Sample
from bench.session import Session

OURS, THEIRS = "`migrate_to_postgres` (of fewer rows)", "`dumpdata` and `loaddata`"
MOST_ROWS = 100_000


def run(session: Session, results: Results) -> None:
    rows = min(session.rows, MOST_ROWS)
    programs = {OURS: lambda: migrate(session, rows), THEIRS: lambda: dump_and_load(session, rows)}
    session.compare(results, programs, rounds=1)
    results.ratio(OURS, THEIRS, name=f"migration of {rows:,} rows / `dumpdata` and `loaddata`", at_most=1.0)


def migrate(session: Session, rows: int) -> Sample:
    sample = session.migrate(file_of(rows), "ours")
    session.drop("ours")
    return sample


def dump_and_load(session: Session, rows: int) -> Sample:
    fixture = str(session.folder / "rows.json")
    with session.database(filled=False) as database:
        url = session.server.url(database)
        django(url, "migrate", "--verbosity", "0")
        dump, load = (
            measure([sys.executable, "manage.py", *command], environment(where), server=session.server)[0]
            for where, command in (
                (f"sqlite:///{file_of(rows)}", ["dumpdata", "lab", "--output", fixture]),
                (url, ["loaddata", fixture, "--verbosity", "0"]),
            )
        )
    return dump + load

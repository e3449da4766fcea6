"""How the cost of migrations, backups and restores grows with rows, tables, columns and large values.

Databases with 10 thousand rows and more (``--sizes``); 10,000 rows in 1 to 500 tables; 20,000 rows in a table with 200
columns; 100 rows of 1 MB. Each is measured once.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.backup import back_up, restore
from bench.lab_file import file_of, run_python
from bench.measuring import Program
from bench.results import Claim, Results, Sample
from bench.session import Session

DATABASE = "grown"
TABLES = (1, 10, 100, 500)
SHAPES = {
    **{f"tables:{tables}": (f"10,000 rows, tables: {tables}", 10_000) for tables in TABLES},
    "columns:200": ("20,000 rows in a table with 200 columns", 20_000),
    "large:1": ("100 rows of 1 MB", 100),
}
"""The shape of `bench.shapes`, its title, and its rows."""


def run(session: Session, results: Results) -> None:
    for rows in session.sizes:
        compare(session, results, f"{rows:,} rows", file_of(rows), rows)
    for shape, (title, rows) in shapes(session):
        file = session.folder / "shape.sqlite3"
        code = f"from bench.shapes.filling import fill; fill({rows})"
        run_python(f"sqlite:///{file}", code, BENCH_SHAPE=shape)
        compare(session, results, title, file, 0, BENCH_SHAPE=shape)
        file.unlink()
    claim_growth(session, results)


def shapes(session: Session) -> Iterator[tuple[str, tuple[str, int]]]:
    if session.tiny:
        yield from {"tables:3": ("3 tables", 30), "columns:200": ("200 columns", 30), "large:1": ("1 MB", 2)}.items()
    else:
        yield from SHAPES.items()


def compare(session: Session, results: Results, title: str, file: Path, rows: int, **variables: str) -> None:
    """Migrate the file, back up the database, and restore it."""
    url, directory = session.server.url(DATABASE), {"BACKUP_DIR": str(session.folder / f"grown-{title}")}
    programs: dict[str, Program] = {
        f"migration, {title}": lambda: session.migrate(file, DATABASE, **variables),
        f"backup, {title}": lambda: back_up(session, url, **variables, **directory),
        f"restore, {title}": lambda: restore(session, url, **variables, **directory),
    }
    if session.tiny and not rows:
        programs = dict(list(programs.items())[:1])
    for name, program in programs.items():
        session.compare(results, {name: with_rows(program, rows)}, rounds=1)
    session.drop(DATABASE)


def with_rows(program: Program, rows: int) -> Program:
    def run_and_count() -> Sample:
        return msgspec.structs.replace(program(), rows=rows)

    return run_and_count


def claim_growth(session: Session, results: Results) -> None:
    """The cost of a row in the largest database against that in the one before it, and the memory for the largest."""
    if len(session.sizes) > 1:
        before, last = sorted(session.sizes)[-2:]
        for name in ("migration", "backup", "restore"):
            one, other = (results.programs[f"{name}, {rows:,} rows"][0].seconds / rows for rows in (last, before))
            title = f"{name}, cost of a row among {last:,} / among {before:,}"
            results.claims.append(Claim(name=title, values=[round(one / other, 4)]))
    title = f"{max(session.sizes):,} rows"
    for name in ("migration", "backup", "restore"):
        results.value(
            f"{name} of {title}, largest process",
            f"{name}, {title}",
            lambda sample: sample.megabytes,
            unit="MB",
            at_most=100,
        )

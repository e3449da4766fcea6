"""Measures HomeRack against other programs.

    python -m bench                    all benches, and writes docs/performance.json and the tables of the documents
    python -m bench migrate backup     some; the others keep the figures of their last run
    python -m bench --rows 200000 --rounds 1 --only-print
    python -m bench growth --sizes 10000 100000 1000000 5000000

Each bench says at the top of its file what it compares. Programs run in turn in each round, on a PostgreSQL server
that is started for the run. Those that are not installed are skipped by name; `make bench` installs the ones of PyPI.
A bench that fails is reported at the end, with exit code 1; the others run.
"""

import argparse
import datetime as dt
import importlib
import pathlib
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

from bench import document, machine, results
from bench.results import Record, Results
from bench.session import Session, say

BENCHES = (
    "migrate",
    "fixtures",
    "migrate_back",
    "backup",
    "backup_sqlite",
    "blocked",
    "copies",
    "connections",
    "console",
    "start",
    "growth",
    "suspicion",
)
"""Modules of `bench` with a function `run(session, results)`, in the order of docs/performance.md."""
ROWS, ROUNDS, SIZES = 1_000_000, 3, (10_000, 100_000, 1_000_000)
Bench = Callable[[Session, Results], None]


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    options = parse(arguments)
    names = options.benches or list(BENCHES)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o711)  # the user of the server reaches its own files
    session = Session(
        rows=1000 if options.tiny else options.rows,
        rounds=1 if options.tiny else options.rounds,
        sizes=(1000,) if options.tiny else options.sizes,
        tiny=options.tiny,
        folder=folder,
    )
    records: dict[str, Record] = {}
    failed = []
    try:
        for name in sorted(names, key=BENCHES.index):
            say(f"{name} …")
            try:
                records[name] = measure(name, session)
            except Exception:  # noqa: BLE001  # the other benches run
                traceback.print_exc()
                failed.append(name)
                continue
            if not (options.tiny or options.only_print):
                keep(name, records[name])
    finally:
        session.stop()
        shutil.rmtree(folder, ignore_errors=True)
    say(f"\n{document.terminal(records)}")
    if failed:
        say(f"\nFailed: {', '.join(failed)}.")
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benches", nargs="*", metavar="BENCH", choices=[*BENCHES, []], help=", ".join(BENCHES))
    parser.add_argument("--rows", type=int, default=ROWS, help="of the database (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="rows of the databases of growth")
    parser.add_argument("--tiny", action="store_true", help="1,000 rows, one round: tests the benches, writes nothing")
    parser.add_argument("--only-print", action="store_true", help="write no file")
    return parser.parse_args(arguments)


def measure(name: str, session: Session) -> Record:
    bench: Bench = importlib.import_module(f"bench.{name}").run
    measured = Results()
    bench(session, measured)
    return Record(
        command=command_of(name, session),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        commit=machine.commit(),
        machine=machine.describe(),
        rows=session.rows,
        rounds=session.rounds,
        results=measured,
    )


def command_of(name: str, session: Session) -> str:
    options = (f" --rows {session.rows}" if session.rows != ROWS else "") + (
        f" --rounds {session.rounds}" if session.rounds != ROUNDS else ""
    )
    if name == "growth" and tuple(session.sizes) != SIZES:
        options += f" --sizes {' '.join(map(str, session.sizes))}"
    return f"python -m bench {name}{options}"


def keep(name: str, record: Record) -> None:
    """Write the bench's figures into the JSON and the documents."""
    records = results.read() | {name: record}
    results.write(records)
    ordered = {bench: records[bench] for bench in BENCHES if bench in records}
    for file in document.FILES:
        file.write_text(document.rewritten(file.read_text(), ordered))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main(sys.argv[1:]))

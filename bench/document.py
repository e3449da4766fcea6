"""Tables of what benches measured: for the terminal, and between the marks of the documents in `FILES`.

The prose of the documents is written by hand. What is between ``<!-- bench NAME -->`` and ``<!-- end -->`` is written
from docs/performance.json.
"""

import datetime as dt
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.results import Claim, Machine, Record, Sample

DOCS = Path(__file__).resolve().parents[1] / "docs"
FILES = (DOCS / "performance.md", DOCS / "backups.md", DOCS / "past-one-lab.md")
BLOCK = re.compile(r"(<!-- bench (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
MACHINE, RATIOS, SIZES = "machine", "ratios", "sizes"
"""Blocks that are about several benches."""
LARGE = {
    "console": {"of 100,000 devices: dashboard": "dashboard", "of 100,000 devices: list of racks": "racks"}
    | {"of 10,000 backups and runs: list of backups": "backups", "of 10,000 backups and runs: list of runs": "runs"},
    "migrate": {"of 1 million rows: migration": "`migrate_to_postgres`"},
    "backup": {
        "of 1 million rows: backup, verified": "`backup_database`, verified",
        "of 1 million rows: restore, compared": "`restore_database`, compared",
    },
}
"""What `SIZES` shows, by bench: its title, and the program or the page."""
Row = Sequence[str]


def rewritten(text: str, records: Mapping[str, Record]) -> str:
    """`text` with the blocks of `records`."""
    return BLOCK.sub(lambda match: f"{match[1]}{block(match[2], records)}{match[3]}", text)


def names_of_blocks(text: str) -> list[str]:
    return [match[2] for match in BLOCK.finditer(text)]


def block(name: str, records: Mapping[str, Record]) -> str:
    if name == MACHINE:
        return "".join(f"{line}\n" for line in machines(records))
    if name == RATIOS:
        return table(("", "Median (smallest–largest)", "Goal", "To repeat"), claims(records, all_of_them=False))
    if name == SIZES:
        return table(
            ("A database", "PostgreSQL", "SQLite", "In an hour, if it grows as the rows do"), [*sizes(records)]
        )
    if name not in records:
        return "Not measured yet.\n"
    record = records[name]
    others = [claim for claim in record.results.claims if not is_main(claim)]
    parts = [f"{measured(record)}\n"]
    if record.results.programs:
        parts.append(programs(record.results.programs))
    if others:
        parts.append(table(("", "Median (smallest–largest)"), [(claim.name, figure(claim)) for claim in others]))
    if record.results.skipped:
        names = "; ".join(f"{program} ({file} is not installed)" for program, file in record.results.skipped.items())
        parts.append(f"Skipped: {names}.\n".replace("\\|", "|"))  # escaped for tables
    return "\n".join(parts)


# --- Which machine, and when --------------------------------------------------------------------------------------
def machines(records: Mapping[str, Record]) -> Iterable[str]:
    """A line for each machine and state of the code, with its benches where there are several."""
    runs: dict[str, list[str]] = {}
    for name, record in records.items():
        runs.setdefault(f"{description(record.machine)}. {date(record.date)}, commit {record.commit}", []).append(name)
    for line, names in runs.items():
        benches = "" if len(runs) == 1 else f": {', '.join(f'`{name}`' for name in names)}"
        yield f"- {line}{benches}."


def description(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    hardware = f"{machine.cpu}, {machine.cores} cores, {machine.memory} GB of memory, {machine.disk} disk"
    return f"{hardware}; {machine.system}, {versions}"


def date(text: str) -> str:
    day = dt.date.fromisoformat(text)
    return f"{day.day} {day:%B %Y}"


def measured(record: Record) -> str:
    return f"`{record.command}`, {date(record.date)}"


# --- Large databases ----------------------------------------------------------------------------------------------
def sizes(records: Mapping[str, Record]) -> Iterable[Row]:
    for bench, titles in LARGE.items():
        if bench not in records:
            continue
        samples, rows = records[bench].results.programs, records[bench].rows
        for title, name in titles.items():
            if bench == "console":
                pages = (samples[f"{name}, {engine}"] for engine in ("PostgreSQL", "SQLite"))
                yield title, *(spread([sample.seconds * 1000 for sample in page], "ms") for page in pages), ""
            else:
                seconds = [sample.seconds for sample in samples[name]]
                millions = 3600 / statistics.median(seconds) * rows / 1e6
                yield title, spread(seconds, "s"), "", f"{rounded(millions)} million rows"


# --- Figures ------------------------------------------------------------------------------------------------------
def is_main(claim: Claim) -> bool:
    """Whether it is in the first table: ratios, and what has a goal."""
    return not claim.unit or claim.at_most is not None


def claims(records: Mapping[str, Record], *, all_of_them: bool) -> list[Row]:
    return [
        (claim.name, figure(claim), goal(claim), f"`{record.command}`")
        for record in records.values()
        for claim in record.results.claims
        if all_of_them or is_main(claim)
    ]


def figure(claim: Claim) -> str:
    return spread(claim.values, claim.unit)


def goal(claim: Claim) -> str:
    return "" if claim.at_most is None else f"≤ {claim.at_most:g}{unit(claim.unit)}"


def spread(values: Sequence[float], of: str = "") -> str:
    """The median, and the smallest and the largest value where they differ."""
    middle, low, high = (rounded(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle}{unit(of)}" + (f" ({low}–{high})" if low != high else "")


def unit(of: str) -> str:
    return f" {of}" if of else ""


def rounded(value: float) -> str:
    """Three digits, but whole numbers from 100 on, and at most two decimals below 10."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def programs(samples: Mapping[str, Sequence[Sample]]) -> str:
    """A row for each program. Columns without a value are left out."""
    in_seconds = max(statistics.median(s.seconds for s in each) for each in samples.values()) >= 1
    scale, heading = (1, "Seconds") if in_seconds else (1000, "Milliseconds")
    columns = {
        "": list(samples),
        heading: [spread([s.seconds * scale for s in each]) for each in samples.values()],
        "Seconds per million rows": [per_million(each) for each in samples.values()],
        "CPU seconds": [median([s.cpu for s in each]) for each in samples.values()],
        "Largest process": [median([s.megabytes for s in each], " MB") for each in samples.values()],
        "File": [median([s.size / 1e6 for s in each], " MB") for each in samples.values()],
        "Of which": [details(each) for each in samples.values()],
    }
    kept = {name: cells for name, cells in columns.items() if not name or any(cells)}
    return table(tuple(kept), list(zip(*kept.values(), strict=True)))


def median(values: Sequence[float], of: str = "") -> str:
    return f"{rounded(statistics.median(values))}{of}" if any(values) else ""


def per_million(samples: Sequence[Sample]) -> str:
    return median([s.seconds / s.rows * 1e6 for s in samples if s.rows]) if any(s.rows for s in samples) else ""


def details(samples: Sequence[Sample]) -> str:
    names = list(samples[0].parts)
    values = {name: statistics.median(s.parts.get(name, 0) for s in samples) for name in names}
    return ", ".join(f"{name} {rounded(value)}" for name, value in values.items() if value >= 0.005)


def table(heading: Row, rows: Sequence[Row]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


# --- The terminal -------------------------------------------------------------------------------------------------
def terminal(records: Mapping[str, Record]) -> str:
    """The description of the machine, and one table of all figures."""
    rows = [[cell.replace("`", "").replace("\\|", "|") for cell in row] for row in claims(records, all_of_them=True)]
    widths = [max((len(row[number]) for row in rows), default=0) for number in range(4)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join([*machines(records), "", *lines])

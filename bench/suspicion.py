"""How often a loss is found the same night, and how often a backup is suspicious although nothing is wrong.

A year of nightly backups of a simulated database, after a quarter in which its history begins; as many backups are kept
as the retention policy keeps by default, and a person says of each suspicious backup that it is right.
"""

import datetime as dt
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from bench.results import Claim, Results
from bench.session import Session, say
from ops.backups.losses import SMALL_TABLE, Baseline, baseline_of, rows_of
from ops.backups.manifest import Kind, Level, Manifest, Origin, TableDigest, Verification
from ops.backups.record import BackupRecord
from ops.backups.signing import Trust
from ops.backups.suspicion import Decision, LossOf, Verdict

BEGIN = dt.datetime(2025, 1, 1, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
BEFORE, YEAR = 92, 365
"""Nights."""
KEPT = 7
STEADY = {"racks": 60, "devices": 430, "cables": 1200, "types": 300, "positions": 110, "notes": 2500, "brands": 45}
"""The user's own rows, which grow by 10% a year."""
IMPORTS = 6
"""Days in a year on which a table of those grows by 20% to 150%."""
SHARES = (1 / 3, 0.4, 0.5, 0.75, 1.0)
"""Of a table's rows that are lost."""

Night = Callable[[random.Random, int, dt.datetime], int]
"""The rows of a table after this night, from those after the night before."""


# --- Tables that rise and fall ------------------------------------------------------------------------------------
def noisy(chance: random.Random, mean: float) -> int:
    return max(0, round(chance.gauss(mean, mean / 4)))


def cleared_monthly(chance: random.Random, rows: int, when: dt.datetime) -> int:
    """A log of which the first of the month leaves three days."""
    return (sum(noisy(chance, 150) for _ in range(3)) if when.day == 1 else rows) + noisy(chance, 150)


def cleared_when_large(chance: random.Random, rows: int, _when: dt.datetime) -> int:
    """Finished jobs, all of which are deleted when there are 20,000."""
    return 0 if rows > 20_000 else rows + noisy(chance, 500)


def trimmed(chance: random.Random, rows: int, _when: dt.datetime) -> int:
    """Events of the last 30 days."""
    return min(rows, 30 * 40) * 29 // 30 + noisy(chance, 40)


def weekly(chance: random.Random, _rows: int, when: dt.datetime) -> int:
    """Bookings: few at the weekend, and on six holidays a year that fall on other days."""
    return noisy(chance, 40 if when.weekday() >= 5 or chance.random() < 6 / 365 else 300)


def collected(chance: random.Random, rows: int, when: dt.datetime) -> int:
    """Hours of a week, which are handed over in the night to Monday."""
    return (0 if when.weekday() == 0 else rows) + noisy(chance, 60)


def quarterly(chance: random.Random, rows: int, when: dt.datetime) -> int:
    """Vouchers that end with the quarter."""
    return (20 if when.day == 1 and when.month in {1, 4, 7, 10} else rows) + noisy(chance, 9)


RHYTHMS: Mapping[str, Night] = {
    "request_log": cleared_monthly,
    "finished_jobs": cleared_when_large,
    "events": trimmed,
    "bookings": weekly,
    "hours": collected,
    "vouchers": quarterly,
}
BYTES = {"request_log": 400, "finished_jobs": 900, "notes": 2000}
"""Of a row; 150 in other tables."""


# --- A database and its backups -----------------------------------------------------------------------------------
def nights(chance: random.Random) -> Iterator[tuple[dt.datetime, dict[str, int], str]]:
    """The time, the rows of each table, and the table that was imported on this day or ''."""
    rows = {**STEADY, **dict.fromkeys(RHYTHMS, 0)}
    imports = {day: chance.choice([*STEADY]) for day in chance.sample(range(BEFORE + YEAR), IMPORTS)}
    for day in range(BEFORE + YEAR):
        when = BEGIN + day * DAY
        for table in STEADY:
            grown = rows[table] * 0.1 / YEAR
            rows[table] += math.floor(grown + chance.random()) + chance.randint(-2, 2)
        if imported := imports.get(day, ""):
            rows[imported] += round(rows[imported] * chance.uniform(0.2, 1.5))
        rows.update({table: night(chance, rows[table], when) for table, night in RHYTHMS.items()})
        yield when, dict(rows), imported


def manifest_of(when: dt.datetime, rows: Mapping[str, int]) -> Manifest:
    size = 50_000 + sum(count * BYTES.get(table, 150) for table, count in rows.items())
    return Manifest(
        id="00000000-0000-0000-0000-000000000000",
        name=f"lab_{when:%Y%m%d_%H%M%S}.sql.gz",
        kind=Kind.SQL_GZIP,
        engine="postgresql",
        database="lab",
        origin=Origin.SCHEDULED,
        created_by="scheduler",
        taken_at=when,
        duration=1,
        server_version="15",
        tool_version="15",
        app_version="1",
        migrations=("lab.0001_initial",),
        tables={table: TableDigest(rows=count, digest="") for table, count in rows.items()},
        size=size // 5,
        uncompressed_size=size,
        sha256="0" * 64,
        verifications=(Verification(level=Level.READ, verified_at=when, duration=1),),
    )


def baseline(kept: list[Manifest]) -> Baseline:
    records = [BackupRecord(name=manifest.name, manifest=manifest, trust=Trust.SIGNED) for manifest in kept]
    return Baseline(manifests=baseline_of(records, engine="postgresql", database="lab"))


def with_loss(new: Manifest, table: str, share: float) -> Manifest:
    """`new` without this share of the rows of a table."""
    rows = dict(rows_of(new))
    rows[table] -= math.ceil(rows[table] * share)
    return manifest_of(new.taken_at, rows)


def names(manifest: Manifest, table: str) -> bool:
    """Whether the backup is suspicious, and the table is the reason, or one of several."""
    suspicion = manifest.suspicion
    return suspicion is not None and (
        suspicion.number > len(suspicion.losses)
        or any(loss.of is LossOf.ROWS or loss.name == table for loss in suspicion.losses)
    )


def simulate(seed: int, *, every: int = 1) -> tuple[Counter[str], Counter[str]]:
    """False alarms by when and why; losses, which are tried on every such night, by how they were found."""
    chance = random.Random(seed)
    alarms: Counter[str] = Counter()
    found: Counter[str] = Counter()
    kept: list[Manifest] = []
    for when, rows, imported in nights(chance):
        before, new = baseline(kept), manifest_of(when, rows)
        counts = when >= BEGIN + BEFORE * DAY
        if counts and (when - BEGIN).days % every == 0:
            for table, share in ((table, share) for table in rows for share in SHARES):
                if rows[table] >= SMALL_TABLE and rows_of(before.manifests[0]).get(table, 0) >= SMALL_TABLE:
                    kind = "rising and falling" if table in RHYTHMS else "imported" if table == imported else "steady"
                    found[kind] += names(before.judge(with_loss(new, table, share)), table)
                    found[f"all {kind}"] += 1
        judged = before.judge(new)
        if judged.verdict is Verdict.UNDECIDED and judged.suspicion:
            alarms["year" if counts else "before"] += 1
            alarms.update(f"{'year' if counts else 'before'}: {loss}" for loss in judged.suspicion.losses)
            judged = judged.with_decision(Decision(right=True, decided_by="ada", decided_at=when))
        kept = [*kept, judged][-KEPT:]
    return alarms, found


SEEDS, EVERY = 20, 5
"""Years that are simulated; losses are tried on every so many nights, which are all days of the week."""
ALARMS = {
    "before": "false alarms in the first quarter, while the history begins",
    "year": "false alarms in the year after it",
}
LOSSES = {
    "steady": "losses of a third or more found, in tables that grow",
    "imported": "losses of a third or more found, on the day of an import into the same table",
    "rising and falling": "losses of a third or more found, in tables that rise and fall",
}


def run(session: Session, results: Results) -> None:
    seeds, every = (1, 100) if session.tiny else (SEEDS, EVERY)
    years = [simulate(seed, every=every) for seed in range(seeds)]
    for when, words in ALARMS.items():
        results.claims.append(Claim(name=words, values=[float(alarms[when]) for alarms, _ in years], unit="alarms"))
    found = sum((losses for _, losses in years), Counter[str]())
    for kind, words in LOSSES.items():
        tried = found[f"all {kind}"]
        results.claims.append(Claim(name=words, values=[round(100 * found[kind] / (tried or 1), 2)], unit="%"))
        say(f"  {words}: {found[kind]:,} of {tried:,}")

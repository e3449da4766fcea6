"""Find what a new backup has lost: pure functions that compare its manifest with those of the good backups before it.

A verified backup is a faithful copy of the database, which may itself be wrong: emptied, or half lost. Such a backup is
suspicious. It is compared with the last good backup and with the median of the good ones before it:

- a table of `SMALL_TABLE` rows or more, or the database, has lost a third of its rows or more. 30% are enough, since
  new rows of the same day hide some of the loss;
- a table of `FEW_ROWS` rows or more is empty, or is gone without a new migration of Django;
- all tables of an app are empty;
- the dump has shrunk by half, on PostgreSQL only: deleted rows leave free pages in a SQLite file.

Growth is no loss. Tables that rise and fall, such as logs that are cleared, have a spread: the losses that they are
known for. A loss is usual if a similar one is known from a week, a month, a quarter or a year before, or from about as
many rows, to which the table has grown again; or if three as deep are known from the last 60 days. Each manifest hands
the known losses on to the next, so that they are remembered for longer than backups are kept.
"""

import datetime as dt
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec.structs import replace

from ops.backups.manifest import Kind, Manifest
from ops.backups.record import BackupRecord, newest_first
from ops.backups.suspicion import Loss, LossOf, Suspicion, Verdict

DAY = dt.timedelta(days=1)
SMALL_TABLE, FEW_ROWS = 100, 10
SMALL_DUMP = 100_000
"""Bytes. Most of a smaller dump is its schema."""
REMAINS = Fraction(7, 10)
REMAINING_BYTES = Fraction(1, 2)
"""A loss leaves this share, or less."""
RECENT = 10
"""Good backups whose median counts."""
SHOWN = 3
"""Losses in a manifest and in notifications."""

MEMORY = 400 * DAY
"""For how long a loss is known: more than a year."""
KNOWN_OF_A_TABLE = 12
PERIODS = ((6.5, 7.5), (27, 32), (88, 94), (363, 368))
"""Days from a loss to the next in a weekly, monthly, quarterly and yearly rhythm."""
TOLERANCE = 0.1
"""By how much, as a share of the rows before, what a similar loss leaves may differ."""
GROWN_AGAIN = (0.9, 2)
"""How high a table stands before a usual loss, in heights before a known one."""
OFTEN, LATELY = 3, 60 * DAY
"""So many known losses of a table, within this time before a loss, are a habit."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a new backup is compared with: the good ones before it, the newest first.

    `apps` maps tables to the labels of their apps. Without one, the app of ``shop_order`` is ``shop``.
    """

    manifests: Sequence[Manifest] = ()
    ignored: Collection[str] = ()
    """Tables whose rows do not count."""
    apps: Mapping[str, str] = field(default_factory=dict)
    replaced: bool = False
    """Whether a restore, an undo or a migration has replaced the database since. It explains every loss."""

    def judge(self, new: Manifest) -> Manifest:
        """`new` with what is suspicious about it."""
        if not self.manifests:
            return new
        last = self.manifests[0]
        known = [loss for loss in last.known_losses if new.taken_at - loss.at < MEMORY]
        if self.replaced:
            return replace(new, baseline_since=new.taken_at, known_losses=tuple(known))
        losses = self._losses_of_tables(new)
        usual = [loss for loss in losses if is_usual(loss, known)]
        # Rows that are usually deleted take bytes with them.
        of_bytes = [] if usual else self._loss_of_bytes(new)
        apps = self._lost_apps(new)
        unusual = [loss for loss in (*losses, *of_bytes) if not is_usual(loss, known)]
        shown = [loss for loss in unusual if loss.of is LossOf.BYTES or self.app_of(loss.name) not in apps]
        rising_and_falling = {self.app_of(loss.name) for loss in usual} - {self.app_of(loss.name) for loss in unusual}
        gone = [loss for app, loss in apps.items() if app not in rising_and_falling]
        return replace(
            new,
            suspicion=suspicion_of([*self._loss_of_rows(new, usual), *gone, *shown], last),
            known_losses=remembered([*known, *losses, *of_bytes]),
            baseline_since=baseline_since(last),
        )

    # --- Tables and bytes -----------------------------------------------------------------------------------------

    def _losses_of_tables(self, new: Manifest) -> list[Loss]:
        now = rows_of(new)
        losses = []
        for table in sorted(self._compared(new)):
            before = self._before(table)
            after = min(now.get(table, 0), before)
            if is_loss(before, after):
                losses.append(Loss(of=LossOf.TABLE, name=table, before=before, after=after, at=new.taken_at))
        return losses

    def _compared(self, new: Manifest) -> set[str]:
        """The tables of the last good backup. A migration of Django explains that one is gone."""
        excluded = {table.table for table in new.excluded}
        tables = self.manifests[0].tables.keys() - excluded - {*self.ignored}
        return tables & new.tables.keys() if new.migrations != self.manifests[0].migrations else tables

    def _before(self, table: str) -> int:
        """The rows in the last good backup, or the median of the recent ones since the last known loss, if higher."""
        known = (loss.at for loss in self.manifests[0].known_losses if loss.name == table)
        heights = [rows_of(manifest).get(table, 0) for manifest in self._recent(max(known, default=None))]
        return max(heights[0], int(statistics.median(heights)))

    def _recent(self, since: dt.datetime | None) -> Sequence[Manifest]:
        """At least one."""
        recent = self.manifests[:RECENT]
        return [manifest for manifest in recent if since is None or manifest.taken_at >= since] or recent[:1]

    def _loss_of_bytes(self, new: Manifest) -> list[Loss]:
        known = (loss.at for loss in self.manifests[0].known_losses)
        plain = (Kind.SQL, Kind.SQL_GZIP)
        recent = [manifest for manifest in self._recent(max(known, default=None)) if manifest.kind in plain]
        if new.kind not in plain or not recent:
            return []
        sizes = [manifest.uncompressed_size for manifest in recent]
        before, after = max(sizes[0], int(statistics.median(sizes))), new.uncompressed_size
        if before < SMALL_DUMP or after > before * REMAINING_BYTES:
            return []
        return [Loss(of=LossOf.BYTES, before=before, after=after, at=new.taken_at)]

    # --- Apps and the database --------------------------------------------------------------------------------------

    def _lost_apps(self, new: Manifest) -> dict[str, Loss]:
        """Apps of several tables with rows, in which there is none now."""
        before, after = rows_of(self.manifests[0]), rows_of(new)
        apps: dict[str, list[str]] = {}
        for table in self._compared(new):
            if before[table]:
                apps.setdefault(self.app_of(table), []).append(table)
        return {
            app: Loss(of=LossOf.APP, name=app, before=rows, after=0, at=new.taken_at)
            for app, tables in apps.items()
            if (rows := sum(before[table] for table in tables)) >= FEW_ROWS
            if len(tables) > 1 and not any(after.get(table) for table in tables)
        }

    def _loss_of_rows(self, new: Manifest, usual: Iterable[Loss]) -> list[Loss]:
        """The loss of the database, apart from tables that have usual losses, or had some lately."""
        recent = self.manifests[:RECENT]
        lately = (loss for loss in self.manifests[0].known_losses if loss.at >= recent[-1].taken_at)
        tables = self._compared(new) - {loss.name for loss in (*usual, *lately)}
        totals = [sum(rows_of(manifest).get(table, 0) for table in tables) for manifest in recent]
        before = max(totals[0], int(statistics.median(totals)))
        after = min(before, sum(rows_of(new).get(table, 0) for table in tables))
        return [Loss(of=LossOf.ROWS, before=before, after=after, at=new.taken_at)] if is_loss(before, after) else []

    def app_of(self, table: str) -> str:
        """The label of the table's app. The name of a table outside PostgreSQL's schema ``public`` has a schema."""
        bare = table.rpartition(".")[2]
        return self.apps.get(bare) or bare.partition("_")[0]


def baseline_of(
    records: Iterable[BackupRecord], *, engine: str, database: str, until: dt.datetime | None = None
) -> list[Manifest]:
    """The good backups of this database, made before `until`, the newest first: verified, and not suspicious.

    It begins anew with a backup that was decided to be right, and with the first one after a restore.
    """
    good: list[Manifest] = []
    since = None
    for record in sorted(records, key=newest_first):
        manifest = record.manifest
        if manifest is None or not record.good:
            continue
        if (manifest.engine, manifest.database) != (engine, database) or (until and manifest.taken_at >= until):
            continue
        if since and manifest.taken_at < since:
            break
        if not good:
            since = baseline_since(manifest)
        good.append(manifest)
    return good


def baseline_since(last: Manifest) -> dt.datetime | None:
    """The time of the first backup that is compared, where `last` is the last good one."""
    return last.taken_at if last.verdict is Verdict.RIGHT else last.baseline_since


def rows_of(manifest: Manifest) -> Mapping[str, int]:
    return {name: table.rows for name, table in manifest.tables.items()}


def is_loss(before: int, after: int) -> bool:
    """Whether `after` rows of `before` are a loss, unless it is usual."""
    if before >= SMALL_TABLE:
        return after <= before * REMAINS
    return before >= FEW_ROWS and not after


def is_usual(loss: Loss, known: Iterable[Loss]) -> bool:
    """Whether the losses of the same table that are `known` explain it."""
    same = [other for other in known if (other.of, other.name) == (loss.of, loss.name)]
    as_deep = [other for other in same if share(other) <= share(loss) + TOLERANCE]
    similar = [other for other in as_deep if share(other) >= share(loss) - TOLERANCE]
    lately = [other for other in as_deep if loss.at - other.at <= LATELY]
    return len(lately) >= OFTEN or any(in_rhythm(loss, other) or grown_again(loss, other) for other in similar)


def share(loss: Loss) -> float:
    """What remains."""
    return loss.after / loss.before


def in_rhythm(loss: Loss, other: Loss) -> bool:
    days = (loss.at - other.at) / DAY
    return any(least <= days <= most for least, most in PERIODS)


def grown_again(loss: Loss, other: Loss) -> bool:
    least, most = GROWN_AGAIN
    return least * other.before <= loss.before <= most * other.before


def suspicion_of(losses: Sequence[Loss], last: Manifest) -> Suspicion | None:
    """The largest of the losses since the backup `last`; None without any."""
    order = list(LossOf)
    ranked = sorted(losses, key=lambda loss: (loss.of is LossOf.BYTES, loss.after - loss.before, order.index(loss.of)))
    return Suspicion(losses=tuple(ranked[:SHOWN]), number=len(ranked), compared_with=last.name) if ranked else None


def remembered(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The newest of each table, in the order of time."""
    by_table: dict[tuple[LossOf, str], list[Loss]] = {}
    for loss in losses:
        by_table.setdefault((loss.of, loss.name), []).append(loss)
    kept = [loss for those in by_table.values() for loss in those[-KNOWN_OF_A_TABLE:]]
    return tuple(sorted(kept, key=lambda loss: (loss.at, loss.of, loss.name)))

"""The page of a backup: its manifest, its rows compared with the live ones, and its migrations with the code's."""

from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from ops.backups.manifest import Level
from ops.backups.preview import LiveCounts, content_tables
from ops.databases.migration_state import migration_skew
from ops.models import Backup
from ops.runs.descriptions import ENGINES, LEVELS, MATCHES
from ops.utils.formatting import format_age, format_duration, format_local, format_size, join_names, pluralize

MAX_NAMES = 8
"""Migrations."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model: its rows in the backup and now (None: unknown), and both as an SVG."""

    label: str
    backup: int
    now: int | None
    svg: SafeString

    @property
    def differs(self) -> bool:
        return self.now is not None and self.now != self.backup


class BackupPresenter:
    """What the template shows of a backup from `Backup.objects.with_state`. Counts the live rows of each model."""

    def __init__(self, backup: Backup, *, kept: str) -> None:
        self.backup, self.kept = backup, kept
        self.state = Backup.State(backup.state).label
        self.manifest = backup.manifest
        self.is_upload = backup.state == Backup.State.UNTRUSTED
        skew = migration_skew(self.manifest.get("migrations", ()))
        self.ahead, self.behind = skew.unknown, () if self.is_upload else skew.pending
        self.bars = bars(backup)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The manifest as labels and values."""
        backup, manifest = self.backup, self.manifest
        when = f"{format_local(backup.taken_at)} ({format_age(backup.taken_at)})"
        return [
            ("Uploaded" if self.is_upload else "Taken", when),
            ("Requested by", f"{backup.created_by} ({backup.origin})"),
            ("Contents", f"{pluralize(backup.rows, 'row')} in {pluralize(len(manifest.get('tables', {})), 'table')}"),
            *([("Not included", self.left_out)] if self.left_out else []),
            ("Size", f"{format_size(backup.size)} ({format_size(backup.uncompressed_size)} uncompressed)"),
            *([] if self.is_upload else [("Duration", format_duration(backup.duration))]),
            ("Database", self.database),
            *([] if self.is_upload else [("App version", f"{manifest.get('app_version', '')}")]),
            ("Verification", self.verification),
            ("Kept", self.kept),
            ("SHA-256", str(manifest.get("sha256", ""))),
        ]

    @property
    def left_out(self) -> str:
        """The tables whose rows are not in the backup, with the reasons."""
        tables: dict[str, list[str]] = {}
        for entry in self.manifest.get("excluded", ()):
            tables.setdefault(entry["reason"], []).append(entry["table"])
        return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in tables.items())

    @property
    def database(self) -> str:
        engine = ENGINES.get(self.backup.engine, self.backup.engine)
        server, tool = self.manifest.get("server_version", ""), self.manifest.get("tool_version", "")
        parts = (self.backup.database, f"{engine} {server}", f"dumped by {tool}" if tool and tool != server else "")
        return ", ".join(filter(None, parts))

    @property
    def verification(self) -> str:
        backup = self.backup
        if backup.verified_at is None:
            return "never"
        when = f"{format_local(backup.verified_at)}, {format_age(backup.verified_at)}"
        if backup.verification_error:
            return f"failed: {backup.verification_error} ({when})"
        took = f", {format_duration(backup.verification_seconds)}" if backup.verification_seconds is not None else ""
        level = Level(backup.verified_level)
        return f"{LEVELS[level]}; {MATCHES[level]} ({when}{took})"

    @property
    def migrations(self) -> str:
        """How the migrations in the backup compare with those of the code."""
        if self.is_upload:
            return "Unknown until the file is restored."
        if self.ahead:
            number = len(self.ahead)
            return f"Cannot be restored: the installed code does not have {number} of its migrations: "
        if self.behind:
            newer = pluralize(len(self.behind), "newer migration")
            them = "it" if len(self.behind) == 1 else "them"
            return f"The installed code has {newer}. A restore applies {them}: "
        return "Same as in the installed code."

    @property
    def migrations_named(self) -> str:
        names = self.ahead or self.behind
        return join_names(names, MAX_NAMES)


def bars(backup: Backup) -> list[Bar]:
    """The models with rows in the backup or now, those with the most rows first."""
    left_out = {entry["table"] for entry in backup.manifest.get("excluded", ())}
    tables = backup.manifest.get("tables", {})
    live = LiveCounts()
    rows = [
        (shown.label, int(tables.get(shown.table, {}).get("rows", 0)), live.rows.get(shown.table))
        for shown in content_tables()
        if shown.table not in left_out and (shown.table in tables or live.rows.get(shown.table))
    ]
    found = [(label, then, now) for label, then, now in rows if then or now]
    largest = max((max(then, now or 0) for _, then, now in found), default=1)
    return [
        Bar(label=str(capfirst(label)), backup=then, now=now, svg=draw(then, now, largest))
        for label, then, now in sorted(found, key=lambda row: -max(row[1], row[2] or 0))
    ]


def draw(then: int, now: int | None, largest: int) -> SafeString:
    """Two bars, the backup's rows above the live ones. Screen readers skip it: the numbers are in the same row."""
    return format_html(
        '<svg class="ops-bars" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ops-bars-backup" width="{}" height="5"/>'
        '<rect class="ops-bars-now" y="7" width="{}" height="5"/></svg>',
        share(then, largest),
        share(now or 0, largest),
    )


def share(number: int, largest: int) -> str:
    """`number` in percent of `largest`; at least 0.8 for one row, so that the bar is visible."""
    return f"{max(100 * number / largest, 0.8 if number else 0):.1f}"

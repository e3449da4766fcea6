"""A backup in words and bars: its manifest, how its rows compare with today's, and its migrations with the code's."""

from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from ops.admin.states import State, state_of
from ops.backups.preview import LiveCounts, shown_tables
from ops.databases.migration_state import migration_skew
from ops.models import Backup
from ops.utils.formatting import format_age, format_duration, format_local, format_size, pluralize

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
MOST_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One model: rows in the backup and now, of which None is not known, and both as a drawing."""

    label: str
    then: int
    now: int | None
    drawing: SafeString

    @property
    def differs(self) -> bool:
        return self.now is not None and self.now != self.then


class BackupPresenter:
    """What the template of a backup's page shows. Asks the database for today's rows of each model."""

    def __init__(self, backup: Backup, *, kept: str) -> None:
        self.backup, self.kept = backup, kept
        self.state = state_of(backup)
        self.manifest = backup.manifest
        self.is_upload = self.state is State.UPLOADED
        skew = migration_skew(self.manifest.get("migrations", ()))
        self.ahead, self.behind = skew.unknown, () if self.is_upload else skew.pending
        self.bars = bars(backup)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The manifest, each line with what it is about."""
        backup, manifest = self.backup, self.manifest
        when = f"{format_local(backup.taken_at)}, {format_age(backup.taken_at)}"
        return [
            ("Uploaded", when)
            if self.is_upload
            else ("Shows", f"{backup.database or 'a database'} as it was at {when}"),
            ("Asked for by", f"{backup.created_by} ({backup.origin})"),
            ("Holds", f"{pluralize(backup.rows, 'row')} in {pluralize(len(manifest.get('tables', {})), 'table')}"),
            *([("Without", self.left_out)] if self.left_out else []),
            ("Size", f"{format_size(backup.size)}; {format_size(backup.uncompressed_size)} before compression"),
            *([] if self.is_upload else [("Took", format_duration(backup.duration))]),
            ("Database", self.database),
            *([] if self.is_upload else [("Made by", f"version {manifest.get('app_version', '')}")]),
            ("Verified", self.proof),
            ("Kept", self.kept),
            ("SHA-256", str(manifest.get("sha256", ""))),
        ]

    @property
    def left_out(self) -> str:
        """The tables whose rows it does not hold, each with the reason."""
        return "; ".join(f"{entry['table']} ({entry['reason']})" for entry in self.manifest.get("excluded", ()))

    @property
    def database(self) -> str:
        engine = ENGINES.get(self.backup.engine, self.backup.engine)
        server, tool = self.manifest.get("server_version", ""), self.manifest.get("tool_version", "")
        return f"{engine} {server}" + (f", dumped by {tool}" if tool and tool != server else "")

    @property
    def proof(self) -> str:
        backup = self.backup
        if backup.verified_at is None:
            return "never"
        when = f"{format_local(backup.verified_at)}, {format_age(backup.verified_at)}"
        if backup.verification_error:
            return f"failed: {backup.verification_error} ({when})"
        how = {"read": "read back in full and counted", "restored": "restored and compared by content"}
        took = f", {format_duration(backup.verification_seconds)}" if backup.verification_seconds is not None else ""
        return f"{how[backup.verified_level]} ({when}{took})"

    @property
    def migrations(self) -> str:
        """How the backup's schema stands to the code's."""
        if self.is_upload:
            return "Not known before it is loaded."
        if self.ahead:
            return f"{pluralize(len(self.ahead), 'migration')} ahead of this code, which cannot restore it: "
        if self.behind:
            return f"{pluralize(len(self.behind), 'migration')} behind; a restore applies them: "
        return "The same as the code's."

    @property
    def migrations_named(self) -> str:
        names = self.ahead or self.behind
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return ", ".join(names[:MOST_NAMED]) + more


def bars(backup: Backup) -> list[Bar]:
    """The models with rows in the backup or now, those with the most rows first."""
    left_out = {entry["table"] for entry in backup.manifest.get("excluded", ())}
    tables = backup.manifest.get("tables", {})
    live = LiveCounts()
    rows = [
        (shown.label, int(tables.get(shown.table, {}).get("rows", 0)), live.rows.get(shown.table))
        for shown in shown_tables()
        if shown.table not in left_out and (shown.table in tables or live.rows.get(shown.table))
    ]
    found = [(label, then, now) for label, then, now in rows if then or now]
    most = max((max(then, now or 0) for _, then, now in found), default=1)
    return [
        Bar(label=label[:1].upper() + label[1:], then=then, now=now, drawing=draw(then, now, most))
        for label, then, now in sorted(found, key=lambda row: -max(row[1], row[2] or 0))
    ]


def draw(then: int, now: int | None, most: int) -> SafeString:
    """The rows of then over those of now, both on a scale up to `most`. It repeats the numbers beside it."""
    return format_html(
        '<svg class="ops-twin" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ops-twin-then" width="{}" height="5"/>'
        '<rect class="ops-twin-now" y="7" width="{}" height="5"/></svg>',
        share(then, most),
        share(now or 0, most),
    )


def share(number: int, most: int) -> str:
    """Per cent of `most`; what is there at all can be seen."""
    return f"{max(100 * number / most, 0.8 if number else 0):.1f}"

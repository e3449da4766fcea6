"""The retention policy: a pure function that decides for every backup whether it is kept, with the reason."""

import datetime as dt
import functools
from collections.abc import Iterable
from dataclasses import dataclass

from ops.backups.manifest import Manifest
from ops.backups.repository import BackupRecord, newest_first
from ops.backups.signing import Trust
from ops.utils.formatting import pluralize


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Keep all backups for `days`, and the newest verified one of each of the last `daily` days, `weekly` weeks, ….

    Only periods with a verified backup count. Days, ISO weeks, months and years are in UTC.
    """

    days: int = 7
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


@dataclass(frozen=True, kw_only=True)
class RetentionDecision:
    """`keep`, the `reason`, and `until` when where age decides."""

    name: str
    keep: bool
    reason: str
    until: dt.datetime | None = None


PERIODS = {"daily": "%Y-%m-%d", "weekly": "week %V of %G", "monthly": "%Y-%m", "yearly": "%Y"}
"""The fields of `Policy`, and the name of the period of a time, as strftime writes it."""


def evaluate(
    records: Iterable[BackupRecord],
    *,
    now: dt.datetime,
    policy: Policy,
    engine: str,
    database: str,
    undo_needs: frozenset[str],
    last_run_failed: bool,
) -> list[RetentionDecision]:
    """A decision for each of `records`, the newest first.

    Only backups that this installation made of this `engine` and `database` are ever deleted. Verified means: signed,
    the data file is there, its newest verification passed, and it is not dated in the future. The last verified backup
    is kept whatever `policy` says. `undo_needs` are names of backups that an undo needs.
    """
    ordered = sorted(records, key=newest_first)
    ours = {
        record.name: record.manifest
        for record in ordered
        if record.manifest and not not_ours_reason(record, engine, database)
    }
    verified = [record.manifest for record in ordered if record.name in ours and record.verified and record.manifest]
    verified = [manifest for manifest in verified if manifest.taken_at <= now]
    last = verified[0].name if verified else ""
    periods = kept_by_period(verified, policy)
    age = pluralize(policy.days, "day")

    def decide(record: BackupRecord) -> RetentionDecision:
        decision = functools.partial(RetentionDecision, name=record.name)
        manifest = ours.get(record.name)
        if manifest is None:
            return decision(keep=True, reason=not_ours_reason(record, engine, database))
        permanent = permanent_reason(manifest, now, last, undo_needs)
        if not permanent and now - manifest.taken_at < dt.timedelta(days=policy.days):
            until = manifest.taken_at + dt.timedelta(days=policy.days)
            return decision(keep=True, reason=f"kept until {until:%Y-%m-%d}: less than {age} old", until=until)
        reason = permanent or periods.get(record.name, "")
        if not reason and last_run_failed:
            reason = "kept because nothing is deleted after a failed backup"
        if reason:
            return decision(keep=True, reason=reason)
        return decision(keep=False, reason=f"older than {age}{quality_note(record)}")

    return [decide(record) for record in ordered]


def not_ours_reason(record: BackupRecord, engine: str, database: str) -> str:
    """Why the policy does not apply to `record`; '' where it does."""
    if record.manifest is None:
        return "kept because its manifest cannot be read"
    if record.manifest.untrusted:
        return "kept because only users delete uploads"
    if record.trust is not Trust.SIGNED:
        return f"kept because this installation did not make it ({record.trust})"
    if (record.manifest.engine, record.manifest.database) != (engine, database):
        return f"kept because it is of another database ({record.manifest.database}, {record.manifest.engine})"
    return ""


def permanent_reason(manifest: Manifest, now: dt.datetime, last: str, undo_needs: frozenset[str]) -> str:
    """Why it is kept whatever its age; '' where age decides."""
    if manifest.pinned:
        return "kept because it is pinned"
    if manifest.name in undo_needs:
        return "kept because an undo needs it"
    if manifest.taken_at > now:
        return f"kept because it is dated in the future ({manifest.taken_at:%Y-%m-%d %H:%M} UTC)"
    if manifest.name == last:
        return "kept as the last verified backup"
    return ""


def kept_by_period(verified: Iterable[Manifest], policy: Policy) -> dict[str, str]:
    """Reasons by name: the newest of each period is kept. `verified` is sorted, the newest first."""
    reasons: dict[str, str] = {}
    verified = list(verified)
    for word, period in PERIODS.items():
        newest: dict[str, Manifest] = {}
        for manifest in verified:
            newest.setdefault(manifest.taken_at.strftime(period), manifest)
        for when, manifest in list(newest.items())[: getattr(policy, word)]:
            reasons.setdefault(manifest.name, f"kept as the {word} backup of {when}")
    return reasons


def quality_note(record: BackupRecord) -> str:
    verification = record.manifest.verification if record.manifest else None
    if record.file_missing:
        return ", and its data file is missing"
    if record.fault:
        return ", and its data file is damaged"
    if verification is None:
        return ", and never verified"
    return "" if verification.passed else ", and its verification failed"

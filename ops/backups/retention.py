"""The retention policy: a pure function that decides for every backup whether it is kept, with the reason."""

import datetime as dt
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ops.backups.manifest import Manifest
from ops.backups.record import BackupRecord, newest_first
from ops.backups.signing import Trust
from ops.backups.suspicion import Verdict
from ops.utils.formatting import format_size, pluralize


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
    unknown: bool = False
    """The policy cannot be read: age and periods decide nothing, and all backups are kept."""


@dataclass(frozen=True, kw_only=True)
class RetentionDecision:
    """`keep`, the `reason`, and `until` when where age decides."""

    name: str
    keep: bool
    reason: str
    until: dt.datetime | None = None


PERIODS = {"daily": "%Y-%m-%d", "weekly": "week %V of %G", "monthly": "%Y-%m", "yearly": "%Y"}
"""The fields of `Policy`, and the name of the period of a time, as strftime writes it."""
RECOMMENDED = (4, 6)
"""Weekly and monthly backups."""


def evaluate(
    records: Iterable[BackupRecord],
    *,
    now: dt.datetime,
    policy: Policy,
    engine: str,
    database: str,
    undo_needs: frozenset[str],
    last_run_failed: bool,
    suspicious: Manifest | None = None,
) -> list[RetentionDecision]:
    """A decision for each of `records`, the newest first. `suspicious` is the first undecided backup of all locations.

    Only backups that this installation made of this `engine` and `database` are ever deleted. Verified means: signed,
    the data file is there, its newest verification passed, and it is not dated in the future. The last verified backup
    is kept whatever `policy` says, and so is the last one that is not suspicious. `undo_needs` are names of backups
    that an undo needs. While a suspicious backup is undecided, everything that existed when it was made is kept: it may
    be needed. Later suspicious ones are deleted like others, so that the disk does not fill.
    """
    ordered = sorted(records, key=newest_first)
    ours = {
        record.name: record.manifest
        for record in ordered
        if record.manifest and not not_ours_reason(record, engine, database)
    }
    verified = [record.manifest for record in ordered if record.name in ours and record.verified and record.manifest]
    verified = [manifest for manifest in verified if manifest.taken_at <= now]
    good = [manifest for manifest in verified if not manifest.may_be_wrong]
    first = suspicious or first_undecided(ours.values(), now=now)
    last = {
        **{manifest.name: "kept as the last backup that is not suspicious" for manifest in good[:1]},
        **{manifest.name: "kept as the last verified backup" for manifest in verified[:1]},
    }
    # A suspicious backup does not stand for its week: a good one does. Nor is it deleted earlier than others.
    periods = kept_by_period([manifest for manifest in verified if manifest.may_be_wrong], policy)
    periods |= kept_by_period(good, policy)
    age = pluralize(policy.days, "day")

    def decide(record: BackupRecord) -> RetentionDecision:
        decision = functools.partial(RetentionDecision, name=record.name)
        manifest = ours.get(record.name)
        if manifest is None:
            return decision(keep=True, reason=not_ours_reason(record, engine, database))
        permanent = permanent_reason(manifest, now, last, undo_needs, first)
        if not permanent and now - manifest.taken_at < dt.timedelta(days=policy.days):
            until = manifest.taken_at + dt.timedelta(days=policy.days)
            return decision(keep=True, reason=f"kept until {until:%Y-%m-%d}: less than {age} old", until=until)
        reason = permanent or periods.get(record.name, "")
        if not reason and policy.unknown:
            reason = "kept because the retention policy cannot be read"
        if not reason and last_run_failed:
            reason = "kept because nothing is deleted after a failed or cancelled backup"
        if reason:
            return decision(keep=True, reason=reason)
        return decision(keep=False, reason=f"older than {age}{quality_note(record)}")

    return [decide(record) for record in ordered]


def not_ours_reason(record: BackupRecord, engine: str, database: str) -> str:
    """Why the policy does not apply to `record`; '' where it does."""
    if record.manifest is None:
        return "kept because its manifest cannot be read"
    if record.manifest.untrusted:
        return "kept as an upload: only a user deletes it"
    if record.trust is not Trust.SIGNED:
        return f"kept because this installation did not make it ({record.trust})"
    if (record.manifest.engine, record.manifest.database) != (engine, database):
        return f"kept because it is of another database ({record.manifest.database}, {record.manifest.engine})"
    return ""


def permanent_reason(
    manifest: Manifest,
    now: dt.datetime,
    last: Mapping[str, str],
    undo_needs: frozenset[str],
    undecided: Manifest | None,
) -> str:
    """Why it is kept whatever its age; '' where age decides. `undecided` is the first suspicious backup of those."""
    if manifest.pinned:
        return "kept because it is pinned"
    if manifest.name in undo_needs:
        return "kept because an undo needs it"
    if manifest.taken_at > now:
        return f"kept because it is dated in the future ({manifest.taken_at:%Y-%m-%d %H:%M} UTC)"
    if manifest.name in last:
        return last[manifest.name]
    if undecided and age_key(manifest) <= age_key(undecided):
        which = "it" if manifest.name == undecided.name else undecided.name
        return f"kept because {which} is suspicious; decide: manage.py decide_backup {undecided.name}"
    return ""


def first_undecided(manifests: Iterable[Manifest], *, now: dt.datetime) -> Manifest | None:
    """The oldest suspicious backup without a decision; not one that is dated in the future."""
    undecided = (manifest for manifest in manifests if manifest.verdict is Verdict.UNDECIDED)
    return min((manifest for manifest in undecided if manifest.taken_at <= now), key=age_key, default=None)


def age_key(manifest: Manifest) -> tuple[dt.datetime, str]:
    """Sorts the oldest first."""
    return manifest.taken_at, manifest.name


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


# --- More than the default ------------------------------------------------------------------------------------------


def recommend(policy: Policy, *, now: dt.datetime, used: int, newest: int) -> str:
    """What keeping weekly and monthly backups besides would cost, in sentences; '' where `policy` keeps some.

    `used` are the bytes of all backups, `newest` those of the newest verified one; 0 where there is none.
    """
    if policy.weekly or policy.monthly or not newest:
        return ""
    weekly, monthly = RECOMMENDED
    number = expected_number(replace(policy, weekly=weekly, monthly=monthly), now=now)
    return (
        f"Backups are deleted after {pluralize(policy.days, 'day')}. A mistake that is noticed later needs older ones:"
        f" one of each of the last {weekly} weeks and {monthly} months is recommended (BACKUP_KEEP_WEEKLY={weekly},"
        f" BACKUP_KEEP_MONTHLY={monthly}). With one backup a day,"
        f" {number} would then take about {format_size(number * newest)}; the backups now take {format_size(used)}."
    )


def expected_number(policy: Policy, *, now: dt.datetime) -> int:
    """How many backups are kept in the long run, of one a day."""
    days = [now - dt.timedelta(days=number) for number in range(366 * (policy.yearly + 1))]
    kept = set(days[: policy.days])
    for word, period in PERIODS.items():
        newest: dict[str, dt.datetime] = {}
        for day in days:
            newest.setdefault(day.strftime(period), day)
        kept.update([*newest.values()][: getattr(policy, word)])
    return len(kept)


def quality_note(record: BackupRecord) -> str:
    verification = record.manifest.verification if record.manifest else None
    if record.file_missing:
        return ", and its data file is missing"
    if record.fault:
        return ", and its data file is damaged"
    if verification is None:
        return ", and never verified"
    return "" if verification.passed else ", and its verification failed"

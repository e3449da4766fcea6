"""What retention in one storage location must not delete because of the others."""

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Mapping

from ops.backups.record import LOCAL, MISSING, BackupRecord
from ops.backups.retention import RetentionDecision

NOT_SUSPICIOUS, VERIFIED = "backup of all locations that is not suspicious", "verified backup of all locations"


def records_in(records: Iterable[BackupRecord], location: str) -> list[BackupRecord]:
    """The backups with a data file in `location`, as they are there: a damaged copy is a fault."""
    found = []
    for record in records:
        if location == LOCAL:
            if record.local_fault != MISSING:
                found.append(dataclasses.replace(record, fault=record.local_fault))
        elif copy := record.copies.get(location):
            found.append(dataclasses.replace(record, fault=copy.error))
    return found


def protect(
    decisions: Iterable[RetentionDecision],
    *,
    location: str,
    records: Iterable[BackupRecord],
    wanted: Mapping[str, Collection[str]],
    now: dt.datetime,
) -> list[RetentionDecision]:
    """The `decisions` for `location`, of which some that delete are changed.

    `records` are all backups, `wanted` the names that the policy of each location keeps. A copy stays while it is of
    the last verified backup or the last good one, or while another location wants the backup and none of these has a
    good copy and answers.
    """
    known = {record.name: record for record in records}
    last = {
        last_one((record for record in known.values() if record.good), now): f"kept as the last {NOT_SUSPICIOUS}",
        last_one((record for record in known.values() if record.verified), now): f"kept as the last {VERIFIED}",
    }

    def protected(decision: RetentionDecision) -> RetentionDecision:
        reason = "" if decision.keep else reason_to_keep(known[decision.name], location, wanted, last)
        return dataclasses.replace(decision, keep=True, reason=reason, until=None) if reason else decision

    return [protected(decision) for decision in decisions]


def reason_to_keep(
    record: BackupRecord, location: str, wanted: Mapping[str, Collection[str]], last: Mapping[str, str]
) -> str:
    if record.name in last:
        return last[record.name]
    keepers = [name for name, names in wanted.items() if name != location and record.name in names]
    if not keepers or set(keepers) & set(record.reachable):
        return ""
    return f"kept because {' and '.join(keepers)} should have it and no copy there is verified and within reach"


def last_one(records: Iterable[BackupRecord], now: dt.datetime) -> str:
    """The name of the newest backup that is not dated in the future; '' if there is none."""
    times = [
        (record.manifest.taken_at, record.name)
        for record in records
        if record.manifest and record.manifest.taken_at <= now
    ]
    return max(times, default=(now, ""))[1]

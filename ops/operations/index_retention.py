"""What pruning would do with the backups that a page shows, from the few rows on which that depends."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Max, Min, Q, QuerySet

from ops.backups.record import LOCAL
from ops.backups.retention import PERIODS, RetentionDecision
from ops.models import Backup, HasCopyIn, HasDamagedCopy
from ops.operations.prune import evaluate_location, last_backup_failed, pinned_by_undo
from ops.runs import index
from ops.runs.context import OpsContext
from ops.utils import clock


def evaluate_index(context: OpsContext, names: Collection[str]) -> dict[str, RetentionDecision]:
    """What `prune` would do now with the backups of `names` that have a row, as `evaluate_retention` decides it.

    A backup without a data file in BACKUP_DIR has the decision of the first location that has a copy. Three queries.
    """
    now = clock.now()
    records = index.read_records(deciding_rows(context, names, now=now))
    last_run_failed, undo_needs = last_backup_failed(context), pinned_by_undo(context, records)
    found: dict[str, RetentionDecision] = {}
    for location in (LOCAL, *context.repository.others):
        if found.keys() >= set(names):
            break
        decisions = evaluate_location(
            context, records, location, last_run_failed=last_run_failed, now=now, undo_needs=undo_needs
        )
        found = {decision.name: decision for decision in decisions} | found
    return {name: decision for name, decision in found.items() if name in names}


def deciding_rows(context: OpsContext, names: Collection[str], *, now: dt.datetime) -> QuerySet[Backup]:
    """The rows of `names`, and others without which decisions about these could differ.

    Those are the newest verified backup, and the newest of each period that a policy keeps: in each location and in
    all together, suspicious or not. Which copies a row has is known without reading it. Which of them are damaged is
    not, so all rows with a good copy and a damaged one are read. The oldest undecided backup decides as well.
    """
    moments = {*undecided_since(context, now)}
    reads_damaged = False
    for group, times in group_verified(context, now).items():
        moments.update(newest_of_periods(sorted(times, reverse=True), context))
        reads_damaged |= group.is_damaged
    wanted = Q(name__in=[*names]) | Q(taken_at__in=moments)
    if not reads_damaged:
        return Backup.objects.filter(wanted)
    return Backup.objects.filter(wanted | Q(HasDamagedCopy(), verification_error=""))


class Group(NamedTuple):
    """Verified backups that are in the same locations. `is_damaged`: at least one of their copies.

    Of another database, too: the last verified backup of all is kept, whatever it is of.
    """

    is_damaged: bool
    is_ours: bool
    may_be_wrong: bool
    locations: tuple[bool, ...]


def group_verified(context: OpsContext, now: dt.datetime) -> Mapping[Group, list[dt.datetime]]:
    """When the verified backups were taken; of each group the newest, if no policy has periods."""
    locations = (LOCAL, *context.repository.others)
    # Of the groups' fields, in their order.
    conditions: dict[str, Any] = {
        "is_damaged": HasDamagedCopy(),
        "is_ours": of_this_database(context),
        "may_be_wrong": Q(suspicion__in=("undecided", "wrong")),
        "is_somewhere": ~Q(copies=[]),
        **{f"is_in_{number}": HasCopyIn(name) for number, name in enumerate(locations)},
    }
    rows = signed(now).filter(verified_at__isnull=False, verification_error="").exclude(origin="upload").order_by()
    rows = rows.annotate(
        **{name: ExpressionWrapper(condition, BooleanField()) for name, condition in conditions.items()}
    )
    groups: dict[Group, list[dt.datetime]] = {}
    if any(numbers_of_periods(context).values()):
        found = rows.values_list(*conditions, "taken_at")
    else:
        found = rows.values(*conditions).annotate(newest=Max("taken_at")).values_list(*conditions, "newest")
    for is_damaged, is_ours, may_be_wrong, *where, taken_at in found:
        group = Group(is_damaged=is_damaged, is_ours=is_ours, may_be_wrong=may_be_wrong, locations=tuple(where))
        groups.setdefault(group, []).append(taken_at)
    return groups


def undecided_since(context: OpsContext, now: dt.datetime) -> Iterator[dt.datetime]:
    """When the first suspicious backup without a decision was taken, with and without uploads."""
    first = Min("taken_at"), Min("taken_at", filter=~Q(origin="upload"))
    found = (
        signed(now)
        .filter(of_this_database(context), suspicion="undecided")
        .aggregate(first=first[0], made_here=first[1])
    )
    return filter(None, found.values())


def signed(now: dt.datetime) -> QuerySet[Backup]:
    """Those that are not dated in the future."""
    return Backup.objects.filter(trust="signed", taken_at__lte=now)


def of_this_database(context: OpsContext) -> Q:
    return Q(engine=context.engine.kind, database=context.engine.database)


def newest_of_periods(times: list[dt.datetime], context: OpsContext) -> Iterator[dt.datetime]:
    """The newest of `times`, which are in this order, and the newest of each period that a policy keeps."""
    yield times[0]
    for word, number in numbers_of_periods(context).items():
        seen: set[str] = set()
        for moment in times if number else ():
            period = moment.astimezone(dt.UTC).strftime(PERIODS[word])
            if period in seen:
                continue
            seen.add(period)
            yield moment
            if len(seen) == number:
                break


def numbers_of_periods(context: OpsContext) -> Mapping[str, int]:
    """How many days, weeks, months and years count in the policy that keeps the most of them."""
    policies = [context.policy, *(location.policy for location in context.repository.others.values())]
    return {word: max(getattr(policy, word) for policy in policies) for word in PERIODS}

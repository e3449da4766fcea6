"""Retention never deletes the last verified backup or a foreign one, and gives a reason for each decision."""

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.backups.record import BackupRecord
from ops.backups.retention import Policy, RetentionDecision, evaluate, expected_number, recommend
from ops.backups.signing import Trust
from ops.backups.suspicion import Decision, Loss, LossOf, Suspicion
from tests.backups import factories

DAY = dt.timedelta(days=1)
WEEK = Policy()
NOW = factories.NOON


def entry(
    days_old: float = 0,
    *,
    name: str = "",
    trust: Trust = Trust.SIGNED,
    missing: bool = False,
    fault: str = "",
    **values: Any,
) -> BackupRecord:
    when = NOW - DAY * days_old
    name = name or f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz"
    manifest = factories.manifest(name=name, taken_at=when, **values)
    return BackupRecord(
        name=name, manifest=manifest, trust=trust, file_missing=missing, fault=fault or "gone" * missing
    )


def verdicts(entries: Sequence[BackupRecord], policy: Policy = WEEK, **options: Any) -> list[RetentionDecision]:
    usual = {"engine": "postgresql", "database": "homerack", "undo_needs": frozenset(), "last_run_failed": False}
    return evaluate(entries, now=NOW, policy=policy, **{**usual, **options})


def reasons(*entries: BackupRecord, policy: Policy = WEEK, **options: Any) -> list[tuple[bool, str]]:
    return [(verdict.keep, verdict.reason) for verdict in verdicts(entries, policy, **options)]


NEWEST = entry(0)
LAST = (True, "kept as the last verified backup")


def test_evaluate_without_backups_gives_no_decisions():
    assert verdicts([]) == []


def test_backups_younger_than_the_days_are_kept():
    judged = verdicts([NEWEST, entry(1), entry(6.9), entry(7), entry(30)])
    assert [(verdict.keep, verdict.reason) for verdict in judged] == [
        LAST,
        (True, "kept until 2026-11-29: less than 7 days old"),
        (True, "kept until 2026-11-23: less than 7 days old"),
        (False, "older than 7 days"),
        (False, "older than 7 days"),
    ]
    assert [verdict.until for verdict in judged[:3]] == [None, NOW + 6 * DAY, NOW + 0.1 * DAY]
    assert reasons(NEWEST, entry(0.5), entry(1), policy=Policy(days=1))[1:] == [
        (True, "kept until 2026-11-24: less than 1 day old"),
        (False, "older than 1 day"),
    ]


def test_last_verified_backup_is_kept_at_any_age():
    assert reasons(entry(400)) == [LAST]
    assert reasons(entry(400), policy=Policy(days=0)) == [LAST]


@pytest.mark.parametrize(
    ("worthless", "why"),
    [
        ({"verifications": ()}, ", and never verified"),
        ({"verifications": (factories.COMPLETE, factories.FAILED)}, ", and its verification failed"),
        ({"missing": True}, ", and its data file is missing"),
        ({"fault": "Its data file has 3 bytes."}, ", and its data file is damaged"),
    ],
)
def test_unverified_backup_is_kept_for_its_days_only(worthless, why):
    newer, older = entry(1, **worthless), entry(8, **worthless)
    assert reasons(newer, older, entry(30), policy=Policy(days=7, daily=1, yearly=1)) == [
        (True, "kept until 2026-11-29: less than 7 days old"),
        (False, f"older than 7 days{why}"),
        LAST,
    ]


@pytest.mark.parametrize("trust", [Trust.UNSIGNED, Trust.FOREIGN, Trust.TAMPERED])
def test_backup_of_another_installation_is_kept_and_does_not_count(trust):
    assert reasons(entry(0, trust=trust), entry(30)) == [
        (True, f"kept because this installation did not make it ({trust})"),
        LAST,
    ]


@pytest.mark.parametrize(
    ("other", "named"),
    [({"database": "lab"}, "lab, postgresql"), ({"engine": "sqlite"}, "homerack, sqlite")],
)
def test_backup_of_another_database_is_kept_and_does_not_count(other, named):
    assert reasons(entry(9, **other), entry(30)) == [(True, f"kept because it is of another database ({named})"), LAST]


def test_unreadable_backup_is_kept():
    broken = BackupRecord(name="homerack_1", manifest=None, trust=Trust.SIGNED, fault="cut off")
    assert reasons(broken, entry(30)) == [LAST, (True, "kept because its manifest cannot be read")]


def test_pinned_backup_is_kept():
    assert reasons(NEWEST, entry(30, pinned=True)) == [LAST, (True, "kept because it is pinned")]


def test_backup_that_an_undo_needs_is_kept():
    needed = entry(30)
    assert reasons(NEWEST, needed, undo_needs=frozenset([needed.name])) == [
        LAST,
        (True, "kept because an undo needs it"),
    ]


def test_backup_dated_in_the_future_is_kept_and_is_not_the_newest():
    assert reasons(entry(-3), entry(30), entry(31), policy=Policy(days=7, daily=1)) == [
        (True, "kept because it is dated in the future (2026-11-26 12:00 UTC)"),
        LAST,
        (False, "older than 7 days"),
    ]


def test_backup_dated_in_the_far_future_is_kept():
    end = (NOW - dt.datetime(9000, 12, 31, tzinfo=dt.UTC)) / DAY
    assert reasons(entry(end)) == [(True, "kept because it is dated in the future (9000-12-31 00:00 UTC)")]


def test_nothing_is_deleted_after_a_failed_backup():
    assert reasons(NEWEST, entry(30), last_run_failed=True) == [
        LAST,
        (True, "kept because nothing is deleted after a failed or cancelled backup"),
    ]


def test_newest_of_each_period_is_kept():
    daily = [entry(days) for days in range(800)]
    policy = Policy(days=1, daily=3, weekly=3, monthly=3, yearly=3)
    kept = [
        (f"{NOW - DAY * days:%Y-%m-%d}", verdict.reason)
        for days, verdict in enumerate(verdicts(daily, policy))
        if verdict.keep
    ]
    # 2026-11-23 is a Monday, the first day of week 48.
    assert kept == [
        ("2026-11-23", "kept as the last verified backup"),
        ("2026-11-22", "kept as the daily backup of 2026-11-22"),
        ("2026-11-21", "kept as the daily backup of 2026-11-21"),
        ("2026-11-15", "kept as the weekly backup of week 46 of 2026"),
        ("2026-10-31", "kept as the monthly backup of 2026-10"),
        ("2026-09-30", "kept as the monthly backup of 2026-09"),
        ("2025-12-31", "kept as the yearly backup of 2025"),
        ("2024-12-31", "kept as the yearly backup of 2024"),
    ]


def test_week_between_two_years_is_one_period():
    monday, friday = (NOW - dt.datetime(*day, 12, tzinfo=dt.UTC) for day in ((2025, 12, 29), (2026, 1, 2)))
    policy = Policy(days=1, weekly=2)
    assert reasons(NEWEST, entry(friday / DAY), entry(monday / DAY), policy=policy)[1:] == [
        (True, "kept as the weekly backup of week 01 of 2026"),
        (False, "older than 1 day"),
    ]


# --- Suspicious backups --------------------------------------------------------------------------------------------

LOST = Loss(of=LossOf.ROWS, before=400, after=0, at=NOW)
UNDECIDED = Suspicion(losses=(LOST,), number=1, compared_with="homerack_1.sql.gz")
RIGHT, WRONG = (
    msgspec.structs.replace(UNDECIDED, decision=Decision(right=right, decided_by="ada", decided_at=NOW))
    for right in (True, False)
)


def test_everything_that_existed_at_the_first_suspicious_backup_is_kept_until_it_is_decided():
    newest, later, first = (entry(days, suspicion=UNDECIDED) for days in (0, 20, 30))
    before = [entry(31), entry(32), entry(400, verifications=())]
    kept = f"suspicious; decide: manage.py decide_backup {first.name}"
    assert reasons(newest, later, first, *before) == [
        LAST,
        (False, "older than 7 days"),
        (True, f"kept because it is {kept}"),
        (True, "kept as the last backup that is not suspicious"),
        *[(True, f"kept because {first.name} is {kept}")] * 2,
    ]


def test_decision_ends_what_is_kept_for_its_sake():
    newest, old, older = entry(0), entry(31), entry(32)
    assert reasons(newest, entry(30, suspicion=RIGHT), old, older) == [LAST, *[(False, "older than 7 days")] * 3]
    wrong = entry(0, suspicion=WRONG)
    assert reasons(wrong, entry(30, suspicion=WRONG), old, older) == [
        LAST,
        (False, "older than 7 days"),
        (True, "kept as the last backup that is not suspicious"),
        (False, "older than 7 days"),
    ]


def test_suspicious_backup_does_not_stand_for_a_period_of_a_good_one():
    # 2026-11-22 is a Sunday.
    wrong, good = entry(1, suspicion=WRONG), entry(2)
    decisions = reasons(entry(0), wrong, good, policy=Policy(days=0, weekly=2))
    assert decisions[1:] == [
        (True, "kept as the weekly backup of week 47 of 2026"),
        (True, "kept as the weekly backup of week 47 of 2026"),
    ]


def test_suspicious_backup_of_the_future_keeps_nothing():
    future = entry(-3, suspicion=UNDECIDED)
    assert reasons(future, entry(0), entry(30))[1:] == [LAST, (False, "older than 7 days")]


@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 60))
def test_full_backups_are_there_after_any_number_of_empty_nights(days, full, empty):
    """Pruned after each night, as a backup does."""
    entries: list[BackupRecord] = []
    for age in range(full + empty, 0, -1):
        suspicion = UNDECIDED if age <= empty and full else None
        entries.append(entry(age, suspicion=suspicion))
        decisions = evaluate(
            entries, now=NOW - DAY * age, policy=Policy(days=days), engine="postgresql", database="homerack",
            undo_needs=frozenset(), last_run_failed=False,
        )  # fmt: skip
        left = {decision.name for decision in decisions if decision.keep}
        entries = [record for record in entries if record.name in left]
    good = [record for record in entries if record.good]
    # All that existed when the first empty one was made, and that one; of the empty ones, those of the policy.
    assert len(good) == (min(full, days) if full else min(empty, days))
    assert len(entries) <= 2 * days + 1


def test_recommendation_says_what_more_backups_cost():
    cost = {"now": NOW, "used": 14_000_000, "newest": 2_000_000}
    assert recommend(Policy(), **cost) == (
        "Backups are deleted after 7 days. A mistake that is noticed later needs older ones: one of each of the"
        " last 4 weeks and 6 months is recommended (BACKUP_KEEP_WEEKLY=4, BACKUP_KEEP_MONTHLY=6). With one backup a"
        " day, 14 would then take about 28.0 MB; the backups now take 14.0 MB."
    )
    assert recommend(Policy(weekly=4), **cost) == recommend(Policy(monthly=1), **cost) == ""
    assert recommend(Policy(), **{**cost, "newest": 0}) == ""


@pytest.mark.parametrize("policy", [Policy(), Policy(weekly=4, monthly=6), Policy(days=1, daily=9, yearly=2)])
def test_expected_number_is_what_is_kept_of_a_backup_a_day(policy):
    days = 366 * (policy.yearly + 1)
    entries = [entry(number) for number in range(days)]
    assert expected_number(policy, now=NOW) == max(1, len(kept(entries, policy)))


# --- Whatever there is ---------------------------------------------------------------------------------------------

kinds_of_entries = st.builds(
    lambda hours, number, options: entry(hours / 24, name=f"homerack_20200101_000000_{number}.sql.gz", **options),
    st.integers(-48, 24 * 900),
    st.integers(0, 10**9),
    st.fixed_dictionaries(
        {},
        optional={
            "trust": st.sampled_from(Trust),
            "missing": st.booleans(),
            "pinned": st.booleans(),
            "suspicion": st.sampled_from([UNDECIDED, RIGHT, WRONG]),
            "database": st.sampled_from(["homerack", "lab"]),
            "verifications": st.sampled_from(
                [(), (factories.COMPLETE,), (factories.FAILED,), (factories.FAILED, factories.COMPLETE)]
            ),
        },
    ),
)
collections = st.lists(kinds_of_entries, max_size=30, unique_by=lambda entry: entry.name)
counts = st.integers(0, 5)
policies = st.builds(Policy, days=st.integers(0, 30), daily=counts, weekly=counts, monthly=counts, yearly=counts)


def ours_and_good(entries: Sequence[BackupRecord]) -> list[BackupRecord]:
    return [
        entry
        for entry in entries
        if entry.verified and entry.manifest.database == "homerack" and entry.manifest.taken_at <= NOW
    ]


def kept(entries: Sequence[BackupRecord], policy: Policy, **options: Any) -> set[str]:
    return {verdict.name for verdict in verdicts(entries, policy, **options) if verdict.keep}


@given(collections, policies)
def test_last_verified_backup_is_never_deleted(entries, policy):
    good = ours_and_good(entries)
    if good:
        newest = max(entry.manifest.taken_at for entry in good)
        assert {entry.name for entry in good if entry.manifest.taken_at == newest} & kept(entries, policy)


@given(collections, policies)
def test_last_backup_that_is_not_suspicious_is_never_deleted(entries, policy):
    good = [entry for entry in ours_and_good(entries) if entry.good]
    if good:
        newest = max(entry.manifest.taken_at for entry in good)
        assert {entry.name for entry in good if entry.manifest.taken_at == newest} & kept(entries, policy)


@given(collections, policies)
def test_nothing_that_existed_at_an_undecided_backup_is_deleted(entries, policy):
    undecided = [
        entry.manifest.taken_at
        for entry in entries
        if entry.trust is Trust.SIGNED and entry.manifest.suspicion == UNDECIDED and entry.manifest.taken_at <= NOW
        if entry.manifest.database == "homerack"
    ]
    if undecided:
        existed = {entry.name for entry in entries if entry.manifest.taken_at < min(undecided)}
        assert existed <= kept(entries, policy)


@given(collections, policies)
def test_foreign_backup_is_never_deleted(entries, policy):
    foreign = {entry.name for entry in entries if entry.trust is not Trust.SIGNED or entry.manifest.database == "lab"}
    assert foreign <= kept(entries, policy)


@given(collections, policies)
def test_second_evaluation_deletes_nothing_more(entries, policy):
    names = kept(entries, policy)
    rest = [entry for entry in entries if entry.name in names]
    assert kept(rest, policy) == names


@given(collections, policies, st.randoms())
def test_decisions_do_not_depend_on_the_order(entries, policy, chance: random.Random):
    shuffled = chance.sample(entries, len(entries))
    assert verdicts(shuffled, policy) == verdicts(entries, policy)


@given(collections, policies)
def test_nothing_is_ever_deleted_after_a_failed_backup(entries, policy):
    assert kept(entries, policy, last_run_failed=True) == {entry.name for entry in entries}


@given(collections, st.integers(0, 5), st.sampled_from(["daily", "weekly", "monthly", "yearly"]))
def test_each_of_the_last_periods_keeps_one_backup(entries, count, word):
    """Without the rule for days, one backup for each period with a verified one is kept, up to the count."""
    period = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}[word]
    good = [entry for entry in ours_and_good(entries) if not entry.manifest.pinned and not entry.manifest.suspicion]
    named = {f"{entry.manifest.taken_at:{period}}" for entry in good}
    expected = max(min(count, len(named)), min(1, len(named)))
    assert len(kept(good, Policy(days=0, **{word: count}))) == expected


@given(collections, policies)
def test_every_decision_has_a_reason(entries, policy):
    for verdict in verdicts(entries, policy):
        assert verdict.reason.startswith("kept" if verdict.keep else "older than ")
        assert (verdict.until is not None) == verdict.reason.startswith("kept until ")

"""Retention never deletes the last verified backup or a foreign one, and gives a reason for each decision."""

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.backups.repository import BackupRecord
from ops.backups.retention import Policy, RetentionDecision, evaluate
from ops.backups.signing import Trust
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
        (True, "kept because nothing is deleted after a failed backup"),
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
    good = [entry for entry in ours_and_good(entries) if not entry.manifest.pinned]
    named = {f"{entry.manifest.taken_at:{period}}" for entry in good}
    expected = max(min(count, len(named)), min(1, len(named)))
    assert len(kept(good, Policy(days=0, **{word: count}))) == expected


@given(collections, policies)
def test_every_decision_has_a_reason(entries, policy):
    for verdict in verdicts(entries, policy):
        assert verdict.reason.startswith("kept" if verdict.keep else "older than ")
        assert (verdict.until is not None) == verdict.reason.startswith("kept until ")

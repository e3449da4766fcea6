"""A new backup is suspicious when it has lost much of what the good ones before it contain, unless that is usual."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import suspicion as simulation
from ops.backups.losses import Baseline, baseline_of
from ops.backups.manifest import ExcludedTable, Kind, Manifest, Origin, TableDigest
from ops.backups.record import BackupRecord
from ops.backups.signing import Trust
from ops.backups.suspicion import Decision, Verdict
from tests.backups import factories
from tests.backups.factories import NOON

DAY = dt.timedelta(days=1)
LAB = {"shop_order": 400, "shop_item": 1200, "auth_user": 12, "wiki_page": 30, "wiki_link": 5}


def night(number: float, rows: Mapping[str, int] = LAB, **values: Any) -> Manifest:
    """A verified backup of that night."""
    when = NOON + number * DAY
    usual: dict[str, Any] = {
        "name": f"homerack_{when:%Y%m%d_%H%M%S}.sql.gz",
        "taken_at": when,
        "tables": {name: TableDigest(rows=count, digest="") for name, count in rows.items()},
        "uncompressed_size": 1_000_000,
    }
    return factories.manifest(**usual | values)


def history(*heights: Mapping[str, int]) -> list[Manifest]:
    """Good backups of so many nights, the newest first."""
    return [night(number, rows) for number, rows in enumerate(heights)][::-1]


def judge(rows: Mapping[str, int], before: Sequence[Manifest] = (), number: float = 0, **how: Any) -> Manifest:
    before = before or history(LAB, LAB, LAB)
    values = how.pop("values", {})
    return Baseline(manifests=before, **how).judge(night(number or len(before), rows, **values))


def sentences(manifest: Manifest) -> list[str]:
    return manifest.suspicion.describe() if manifest.suspicion else []


def decided(manifest: Manifest, *, right: bool) -> Manifest:
    return manifest.with_decision(Decision(right=right, decided_by="ada", decided_at=manifest.taken_at))


# --- One night ------------------------------------------------------------------------------------------------------
def test_first_backup_is_not_suspicious() -> None:
    assert Baseline().judge(night(0)).suspicion is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"shop_order": 4000, "shop_item": 9000}, []),
        ({"shop_item": 841}, []),
        ({"shop_item": 800}, ["The table shop_item lost 33% of its rows: 1,200 before, 800 now."]),
        ({"shop_order": 0}, ["The table shop_order has no rows: 400 before."]),
        ({"auth_user": 1}, []),
        ({"auth_user": 0}, ["The table auth_user has no rows: 12 before."]),
        ({"wiki_link": 0}, []),
        ({"wiki_link": 0, "wiki_page": 0}, ["All rows of the app wiki are gone: 35 before."]),
    ],
)
def test_lost_rows_are_named(changes: dict[str, int], expected: list[str]) -> None:
    assert sentences(judge(LAB | changes)) == expected


def test_three_largest_losses_are_named_and_the_others_counted() -> None:
    judged = judge(dict.fromkeys(LAB, 0))
    assert sentences(judged) == [
        "The database lost 100% of its rows: 1,647 before, 0 now.",
        "All rows of the app shop are gone: 1,600 before.",
        "All rows of the app wiki are gone: 35 before.",
        "1 other loss like these.",
    ]
    assert judged.suspicion
    assert judged.suspicion.compared_with == history(LAB, LAB, LAB)[0].name
    assert judged.verdict is Verdict.UNDECIDED
    assert judged.suspicion.choices("lab_1") == [
        "If this is right: manage.py decide_backup lab_1 --right",
        f"If not, restore the last good backup: manage.py restore_database {judged.suspicion.compared_with}",
    ]


def test_small_losses_in_many_tables_are_a_loss_of_the_database() -> None:
    tables = {f"app_{number}": 60 for number in range(20)}
    judged = judge(dict.fromkeys(tables, 30), history(tables))
    assert sentences(judged) == ["The database lost 50% of its rows: 1,200 before, 600 now."]


def test_dump_that_shrank_by_half_is_suspicious_in_postgresql_only() -> None:
    assert sentences(judge(LAB, values={"uncompressed_size": 500_000})) == [
        "The dump shrank by 50%: 1.0 MB before, 500 kB now."
    ]
    assert sentences(judge(LAB, values={"uncompressed_size": 510_000})) == []
    files = {"kind": Kind.SQLITE, "name": "homerack_1.sqlite3"}
    before = [night(0, **files)]
    assert sentences(judge(LAB, before, values={**files, "uncompressed_size": 500_000})) == []


def test_slow_loss_is_found_against_the_median() -> None:
    before = history(*[LAB] * 6, LAB | {"shop_item": 1000}, LAB | {"shop_item": 900})
    assert sentences(judge(LAB | {"shop_item": 830}, before)) == [
        "The table shop_item lost 30% of its rows: 1,200 before, 830 now."
    ]


def test_table_that_is_gone_is_explained_by_a_new_migration_only() -> None:
    rest = {name: rows for name, rows in LAB.items() if name != "shop_order"}
    assert sentences(judge(rest)) == ["The table shop_order has no rows: 400 before."]
    assert sentences(judge(rest, values={"migrations": ("inventory.0001_initial", "shop.0002_drop")})) == []
    emptied = LAB | {"shop_order": 0}
    assert sentences(judge(emptied, values={"migrations": ("inventory.0001_initial", "shop.0002_drop")})) != []


def test_excluded_and_ignored_tables_do_not_count() -> None:
    without = LAB | {"shop_order": 0}
    reason = (ExcludedTable(table="shop_order", reason="named"),)
    assert sentences(judge(without, values={"excluded": reason})) == []
    assert sentences(judge(without, ignored={"shop_order"})) == []


def test_app_of_a_table_is_that_of_its_model() -> None:
    before = history({"racks": 20, "devices": 30})
    apps = {"racks": "inventory", "devices": "inventory"}
    assert sentences(judge({"racks": 0, "devices": 0}, before, apps=apps)) == [
        "The database lost 100% of its rows: 50 before, 0 now.",
        "All rows of the app inventory are gone: 50 before.",
    ]


# --- What explains a loss -------------------------------------------------------------------------------------------
def test_restore_explains_every_loss_and_begins_the_baseline_anew() -> None:
    emptied = dict.fromkeys(LAB, 0)
    restored = judge(emptied, replaced=True)
    assert restored.suspicion is None
    assert baseline_of(records([restored, *history(LAB, LAB, LAB)]), engine="postgresql", database="homerack") == [
        restored
    ]
    next_night = judge(emptied, [restored], number=4)
    assert next_night.suspicion is None
    assert next_night.baseline_since == restored.taken_at


def test_loss_that_was_right_is_not_reported_again() -> None:
    cleared = LAB | {"shop_item": 100}
    judged = decided(judge(cleared), right=True)
    kept = baseline_of(records([judged, *history(LAB, LAB, LAB)]), engine="postgresql", database="homerack")
    assert kept == [judged]
    assert judge(cleared, kept, number=4).suspicion is None


def clear_outs(days: Sequence[float], *heights: int) -> list[Manifest]:
    """Backups in which a log is cleared on these days, from these heights, each of which was decided to be right."""
    kept: list[Manifest] = [night(-1, {"log": heights[0]})]
    for number, height in zip(days, heights, strict=True):
        kept = [night(number - 1, {"log": height}, known_losses=kept[0].known_losses), *kept]
        cleared = judge({"log": 50}, kept, number=number)
        kept = [decided(cleared, right=True) if cleared.suspicion else cleared, *kept]
    return kept


@pytest.mark.parametrize(
    ("days", "is_usual"), [(7, True), (30, True), (91, True), (365, True), (12, False), (5, False)]
)
def test_second_loss_is_usual_a_week_month_quarter_or_year_later(days: float, is_usual: bool) -> None:
    kept = clear_outs([1], 1000)
    kept = [night(days, {"log": 500}, known_losses=kept[0].known_losses), *kept]
    assert (judge({"log": 60}, kept, number=1 + days).suspicion is None) == is_usual


def test_second_loss_is_usual_from_about_as_many_rows() -> None:
    kept = clear_outs([1], 1000)
    again = [night(12, {"log": 950}, known_losses=kept[0].known_losses), *kept]
    assert judge({"log": 60}, again, number=13).suspicion is None
    assert judge({"log": 300}, again, number=13).suspicion is not None


def test_loss_deeper_than_the_usual_ones_is_suspicious() -> None:
    kept = clear_outs([1], 100)
    again = [night(7, {"log": 100}, known_losses=kept[0].known_losses), *kept]
    assert judge({"log": 50}, again, number=8).suspicion is None
    assert judge({"log": 0}, again, number=8).suspicion is not None


def test_fourth_loss_at_odd_times_is_usual() -> None:
    kept = clear_outs([1, 13, 24], 1000, 700, 400)
    assert [manifest.verdict for manifest in kept if manifest.tables["log"].rows == 50] == [Verdict.RIGHT] * 3
    again = [night(40, {"log": 250}, known_losses=kept[0].known_losses), *kept]
    assert judge({"log": 60}, again, number=41).suspicion is None
    assert judge({"log": 60}, again, number=81).suspicion is not None


def test_loss_is_known_for_more_than_a_year() -> None:
    kept = clear_outs([1], 1000)
    known = judge({"log": 60}, kept, number=390).known_losses
    assert [loss.before for loss in known] == [1000]
    assert judge({"log": 60}, kept, number=402).known_losses == ()


def test_wrong_backups_teach_nothing() -> None:
    wrong = decided(judge(LAB | {"shop_item": 10}), right=False)
    kept = baseline_of(records([wrong, *history(LAB, LAB, LAB)]), engine="postgresql", database="homerack")
    assert wrong not in kept
    assert judge(LAB | {"shop_item": 10}, kept, number=4).suspicion is not None


# --- The baseline ---------------------------------------------------------------------------------------------------
def records(manifests: Sequence[Manifest], trust: Trust = Trust.SIGNED) -> list[BackupRecord]:
    return [BackupRecord(name=manifest.name, manifest=manifest, trust=trust) for manifest in manifests]


@pytest.mark.parametrize(
    "values",
    [
        {"database": "other"},
        {"engine": "sqlite"},
        {"origin": Origin.UPLOAD},
        {"verifications": ()},
        {"verifications": (factories.FAILED,)},
    ],
)
def test_other_backups_are_not_compared(values: dict[str, Any]) -> None:
    other, own = night(2, **values), night(1)
    assert baseline_of(records([other, own]), engine="postgresql", database="homerack") == [own]


def test_unsigned_and_future_backups_are_not_compared() -> None:
    assert baseline_of(records([night(1)], Trust.FOREIGN), engine="postgresql", database="homerack") == []
    found = baseline_of(records([night(9), night(1)]), engine="postgresql", database="homerack", until=NOON + 2 * DAY)
    assert [manifest.taken_at for manifest in found] == [NOON + DAY]


def test_pre_restore_backups_are_compared() -> None:
    found = baseline_of(records([night(1, origin=Origin.PRE_RESTORE)]), engine="postgresql", database="homerack")
    assert [manifest.origin for manifest in found] == ["pre-restore"]


def test_empty_nights_do_not_become_normal() -> None:
    kept = history(LAB, LAB, LAB)
    for number in range(3, 33):
        good = baseline_of(records(kept), engine="postgresql", database="homerack")
        judged = judge(dict.fromkeys(LAB, 0), good, number=number)
        assert judged.verdict is Verdict.UNDECIDED
        kept = [judged, *kept]


@given(
    st.dictionaries(st.sampled_from(sorted(LAB)), st.integers(100, 10_000), min_size=1),
    st.data(),
    st.fractions(min_value="1/3", max_value=1),
)
def test_every_loss_of_a_third_is_found(rows: dict[str, int], data: st.DataObject, share: Any) -> None:
    table = data.draw(st.sampled_from(sorted(rows)))
    after = rows | {table: int(rows[table] * (1 - share))}
    assert judge(after, history(rows, rows)).verdict is Verdict.UNDECIDED


@given(st.lists(st.dictionaries(st.sampled_from(sorted(LAB)), st.integers(0, 10_000)), min_size=2, max_size=12))
def test_growth_is_never_suspicious(steps: list[dict[str, int]]) -> None:
    rows = dict.fromkeys(LAB, 0)
    kept: list[Manifest] = []
    for number, step in enumerate(steps):
        rows = {name: count + step.get(name, 0) for name, count in rows.items()}
        kept = [Baseline(manifests=kept).judge(night(number, rows)), *kept]
    assert [manifest.suspicion for manifest in kept] == [None] * len(kept)


def test_manifest_with_losses_is_read_back() -> None:
    judged = decided(judge(dict.fromkeys(LAB, 0)), right=True)
    assert Manifest.from_json(judged.as_json()) == judged
    with pytest.raises(ValueError, match="5 is no loss from 4"):
        msgspec.structs.replace(judged.known_losses[0], before=4, after=5)


def test_simulated_year_has_no_false_alarm_and_no_missed_loss() -> None:
    alarms, found = simulation.simulate(1, every=28)
    assert alarms["year"] <= 1
    assert found["steady"] == found["all steady"] > 50

"""How many good copies there are, where, and what falls short since when."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from ops.backups.locations.coverage import (
    Coverage,
    KnownBackup,
    KnownCopy,
    KnownLocation,
    Shortfall,
    describe_copies,
    describe_failure,
    describe_gap,
    describe_shortfall,
    find_coverage,
    read_copies,
)
from ops.backups.locations.state import LocationState
from ops.errors import ArtifactInvalid

NOW = dt.datetime(2026, 11, 24, 15, 0, tzinfo=dt.UTC)
MAX_AGE = dt.timedelta(hours=26)
LOCAL = KnownLocation(name="local", address="/var/backups", type="directory")


def ago(hours: float) -> dt.datetime:
    return NOW - dt.timedelta(hours=hours)


def location(name: str, *, failing: float | None = None, shares_disk: bool = False, **fields: Any) -> KnownLocation:
    """One that answered an hour ago, or has failed for so many hours."""
    state = LocationState(
        answered_at=ago(failing or 1),
        error="It is off." if failing else "",
        failing_since=ago(failing) if failing else None,
        shares_disk=shares_disk,
    )
    return KnownLocation(name=name, address=f"/mnt/{name}", type="directory", state=state, **fields)


def backup(hours: float, *names: str, damaged: str = "", silent: str = "") -> KnownBackup:
    """Taken so many hours ago, with copies in BACKUP_DIR and these locations."""
    copies = [
        KnownCopy(location=name, error="It is cut off." if name == damaged else "", answers=name != silent)
        for name in ("local", *names)
    ]
    return KnownBackup(taken_at=ago(hours), copies=tuple(copies))


def coverage(locations: list[KnownLocation], *backups: KnownBackup, min_copies: int = 0) -> Coverage:
    return find_coverage([LOCAL, *locations], backups, min_copies=min_copies, now=NOW, max_age=MAX_AGE)


NAS, BUCKET = location("nas"), location("bucket", off_site=True)


# --- What falls short ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locations", "backups", "since", "is_reach_only"),
    [
        pytest.param([NAS], [backup(1, "nas")], None, False, id="the newest has all"),
        pytest.param([NAS], [backup(3), backup(25, "nas")], None, False, id="the one before is recent enough"),
        pytest.param([NAS], [backup(3), backup(27, "nas")], 3, False, id="the one before is too old"),
        pytest.param([NAS], [backup(1), backup(27, "nas")], None, False, id="the newest may still be copied"),
        pytest.param([NAS], [backup(1), backup(25), backup(49, "nas")], 25, False, id="since the first later one"),
        pytest.param([NAS], [backup(1), backup(25), backup(49)], 49, False, id="no backup has enough"),
        pytest.param([NAS], [backup(400, "nas")], None, False, id="an old one is no matter of copies"),
        pytest.param([NAS], [], None, False, id="no backup"),
        pytest.param([NAS], [backup(3, "nas", damaged="nas")], 3, False, id="a damaged copy"),
        pytest.param([NAS], [backup(3, "nas", damaged="local")], 3, False, id="a damaged copy in BACKUP_DIR"),
        pytest.param([NAS, BUCKET], [backup(3, "nas")], 3, False, id="one of two"),
        pytest.param([location("nas", failing=5)], [backup(9, "nas")], 5, True, id="the only other location fails"),
        pytest.param([location("nas", failing=1)], [backup(9, "nas")], None, True, id="it has failed for an hour"),
        pytest.param(
            [location("nas", failing=5)], [backup(3), backup(27, "nas")], 3, False, id="it fails and lacks copies"
        ),
        pytest.param(
            [location("nas", failing=5)], [backup(3), backup(9, "nas")], 5, True, id="it fails and may lack copies"
        ),
        pytest.param([NAS], [backup(9, "nas", silent="nas")], 9, True, id="the row says that it does not answer"),
        pytest.param([location("usb")], [backup(9, "nas")], 9, False, id="a location that is not configured any more"),
    ],
)
def test_coverage_falls_short_while_the_last_backup_with_all_copies_is_too_old(
    locations: list[KnownLocation], backups: list[KnownBackup], since: float | None, is_reach_only: bool
) -> None:
    expected = None if since is None else Shortfall(since=ago(since), is_reach_only=is_reach_only)

    assert coverage(locations, *backups).shortfall == expected


@pytest.mark.parametrize(
    ("min_copies", "failing", "since"), [(2, [5, 7], None), (3, [5, 7], 5), (4, [5, 7], 7), (4, [5], 5), (5, [], 9)]
)
def test_locations_fail_in_turn_since_is_when_too_few_were_left(
    min_copies: int, failing: list[float], since: float | None
) -> None:
    names = ["a", "b", "c", "d"]
    locations = [location(name, failing=hours) for name, hours in zip(names, failing, strict=False)]
    locations += [location(name) for name in names[len(failing) : 3]]

    shortfall = coverage(locations, backup(9, "a", "b", "c"), min_copies=min_copies).shortfall

    assert (shortfall and shortfall.since) == (None if since is None else ago(since))


def test_no_more_backups_are_read_than_needed() -> None:
    def backups() -> Iterator[KnownBackup]:
        yield backup(3)
        yield backup(25, "nas")
        raise AssertionError("Another backup was read.")

    found = find_coverage([LOCAL, NAS], backups(), min_copies=0, now=NOW, max_age=MAX_AGE)

    assert found.shortfall is None
    assert found.newest == backup(3)


# --- Sentences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locations", "sentence"),
    [
        ([LOCAL], "1 copy in 1 location, none off-site"),
        ([LOCAL, NAS], "2 copies in 2 locations, none off-site"),
        ([LOCAL, NAS, BUCKET], "3 copies in 3 locations, 1 off-site"),
        ([LOCAL, location("usb", shares_disk=True), BUCKET], "3 copies in 2 locations, 1 off-site"),
        ([location("usb", shares_disk=True)], "1 copy in 1 location, none off-site"),
        ([location("usb", shares_disk=True), BUCKET], "2 copies in 2 locations, 1 off-site"),
        ([], "0 copies in 0 locations, none off-site"),
    ],
)
def test_copies_on_one_disk_are_in_one_location(locations: list[KnownLocation], sentence: str) -> None:
    assert describe_copies(locations) == sentence


@pytest.mark.parametrize(
    ("nas", "newest"),
    [
        (NAS, backup(3, "bucket")),
        (NAS, backup(3, "nas", "bucket", damaged="nas")),
        (NAS, backup(3, "nas", "bucket", silent="nas")),
        (location("nas", failing=1), backup(3, "nas", "bucket")),
        (location("usb"), backup(3, "nas", "bucket")),
        (NAS, backup(3, "nas", "bucket", damaged="local")),
    ],
)
def test_three_copies_are_never_claimed_while_one_does_not_count(nas: KnownLocation, newest: KnownBackup) -> None:
    found = coverage([nas, BUCKET], newest)

    assert describe_copies(found.holders) == "2 copies in 2 locations, 1 off-site"
    assert "3 copies" not in describe_shortfall(found)


def test_gap_names_each_location_with_its_reason() -> None:
    failing = location("tape", failing=5)
    found = coverage(
        [NAS, location("usb"), location("disk"), failing, BUCKET],
        backup(3, "disk", "tape", "bucket", damaged="disk"),
    )

    assert describe_gap(found) == "no copy in nas, usb; damaged in disk; unreachable in tape"
    assert describe_shortfall(found, when="since Sunday") == (
        "The newest backup has 2 good copies instead of 6 since Sunday:"
        " no copy in nas, usb; damaged in disk; unreachable in tape."
    )
    assert describe_failure(failing, since="Sunday") == "tape has failed since Sunday: It is off."


def test_too_few_locations_for_the_required_copies_are_named() -> None:
    found = coverage([NAS], backup(3, "nas"), min_copies=3)

    assert found.shortfall == Shortfall(since=ago(3), is_reach_only=False)
    assert describe_shortfall(found) == (
        "The newest backup has 2 good copies instead of 3 so far, and there are only 2 storage locations."
    )


def test_copies_of_a_row_are_read_strictly() -> None:
    documents = [{"location": "local", "verified_at": None, "error": "", "answers": True}]

    assert read_copies(documents) == (KnownCopy(location="local"),)
    with pytest.raises(ArtifactInvalid, match="The list of copies is not valid"):
        read_copies([{"location": "nas", "answers": "yes"}])

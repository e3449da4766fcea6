"""A manifest is read back as it was written, or refused with the place of the error."""

import copy
import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.backups.manifest import ExcludedTable, Kind, Level, Manifest, Origin, TableDigest, Verification
from ops.errors import ArtifactInvalid
from tests.backups import factories

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.integers(min_value=0, max_value=2**50)
durations = st.floats(min_value=0, max_value=1e9)
moments = st.datetimes(timezones=st.just(dt.UTC)).filter(lambda when: 1970 <= when.year <= 9000)
proofs = st.builds(Verification, level=st.sampled_from(Level), verified_at=moments, duration=durations, error=texts)
manifests = st.sampled_from(Kind).flatmap(
    lambda kind: st.builds(
        Manifest,
        id=st.uuids().map(str),
        name=st.from_regex(r"[a-z]{1,9}_[0-9]{8}_[0-9]{6}", fullmatch=True).map(lambda stem: f"{stem}.{kind}"),
        kind=st.just(kind),
        engine=st.sampled_from(["postgresql", "sqlite"]),
        database=texts,
        origin=st.sampled_from(Origin),
        created_by=texts,
        taken_at=moments,
        duration=durations,
        server_version=texts,
        tool_version=texts,
        app_version=texts,
        migrations=st.lists(texts, max_size=3).map(tuple),
        tables=st.dictionaries(texts, st.builds(TableDigest, rows=numbers, digest=texts), max_size=3),
        size=numbers,
        uncompressed_size=numbers,
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
        verifications=st.lists(proofs, max_size=3).map(tuple),
        note=texts,
        pinned=st.booleans(),
        run=texts,
        metadata=st.dictionaries(texts, texts, max_size=3),
        untrusted=st.booleans(),
    ),
)
empty_tables = st.dictionaries(texts, st.just(TableDigest(rows=0, digest="0")), max_size=3)


@settings(max_examples=40)
@given(manifests, empty_tables, texts)
def test_manifest_that_is_written_is_read_back(manifest, empty, reason):
    manifest = msgspec.structs.replace(
        manifest,
        tables={**manifest.tables, **empty},
        excluded=tuple(ExcludedTable(table=table, reason=reason) for table in empty),
    )
    assert Manifest.from_json(json.loads(json.dumps(manifest.as_json()))) == manifest


def test_manifest_with_a_time_in_another_zone_is_refused():
    berlin = dt.timezone(dt.timedelta(hours=1))
    with pytest.raises(ValueError, match=r"^2026-11-23T13:00:00\+01:00 is not a time in UTC$"):
        factories.manifest(taken_at=dt.datetime(2026, 11, 23, 13, tzinfo=berlin))


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (["id"], "7", "Expected str matching regex '\\\\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\\\\Z' at id"),
        (
            ["name"],
            "../../etc/passwd",
            "Expected str matching regex '\\\\A[A-Za-z0-9_-]+(?:\\\\.[A-Za-z0-9]+)+\\\\Z' at name",
        ),
        (
            ["name"],
            "homerack.sql.gz\n",
            "Expected str matching regex '\\\\A[A-Za-z0-9_-]+(?:\\\\.[A-Za-z0-9]+)+\\\\Z' at name",
        ),
        (["name"], "homerack_1.sqlite3", "the name homerack_1.sqlite3 does not end in .sql.gz, its kind"),
        (["kind"], "zip", "Invalid enum value 'zip' at kind"),
        (["database"], 5, "Expected str, got int at database"),
        (["created_by"], "a\0b", "Expected str matching regex '\\\\A[^\\\\0\\\\ud800-\\\\udfff]*\\\\Z' at created_by"),
        (["note"], "\ud800", "Expected str matching regex '\\\\A[^\\\\0\\\\ud800-\\\\udfff]*\\\\Z' at note"),
        (["note"], "x" * 100_001, "Expected str of length <= 100000 at note"),
        (["size"], 2**53 + 1, "Expected int <= 9007199254740992 at size"),
        (["taken_at"], "0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:00 is outside the years 1970 to 9000"),
        (["taken_at"], "9999-12-31T00:00:00+00:00", "9999-12-31T00:00:00+00:00 is outside the years 1970 to 9000"),
        (["taken_at"], "2026-11-23T12:00:00", "Expected datetime with a timezone component at taken_at"),
        (["taken_at"], "2026-11-23T12:00:00+01:00", "2026-11-23T12:00:00+01:00 is not a time in UTC"),
        (["taken_at"], "yesterday", "Invalid RFC3339 encoded datetime at taken_at"),
        (["duration"], True, "Expected float, got bool at duration"),
        (["duration"], float("nan"), "Expected float >= 0.0 at duration"),
        (["migrations"], "all", "Expected array, got str at migrations"),
        (["migrations", 0], None, "Expected str, got null at migrations[0]"),
        (["tables"], [], "Expected object, got array at tables"),
        (["tables", "inventory_rack", "rows"], -1, "Expected int >= 0 at tables[...].rows"),
        (["tables", "inventory_rack", "rows"], 1.0, "Expected int, got float at tables[...].rows"),
        (["tables", "inventory_rack"], 3, "Expected object, got int at tables[...]"),
        (["size"], True, "Expected int, got bool at size"),
        (["sha256"], "F" * 64, "Expected str matching regex '\\\\A[0-9a-f]{64}\\\\Z' at sha256"),
        (["verifications", 0, "level"], "good", "Invalid enum value 'good' at verifications[0].level"),
        (["pinned"], 1, "Expected bool, got int at pinned"),
        (["colour"], "red", "Object contains unknown field colour"),
        (["verifications", 0, "colour"], "red", "Object contains unknown field colour at verifications[0]"),
        (["excluded"], {}, "Expected array, got object at excluded"),
        (["excluded"], [{"table": "x"}], "Object missing required field reason at excluded[0]"),
        (["excluded"], [{"table": "x", "reason": 1}], "Expected str, got int at excluded[0].reason"),
        (["excluded"], [{"table": "x", "reason": ""}], "the excluded table 'x' is not among the empty tables"),
        (
            ["excluded"],
            [{"table": "inventory_rack", "reason": ""}],
            "the excluded table 'inventory_rack' is not among the empty tables",
        ),
        (["format"], 0, "Invalid enum value 0 at format"),
        (["format"], "1", "Expected int, got str at format"),
    ],
)
def test_manifest_with_an_invalid_value_is_refused_with_the_place(place, value, reason):
    document: Any = copy.deepcopy(factories.manifest().as_json())
    part = document
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    with pytest.raises(ArtifactInvalid) as caught:
        Manifest.from_json(document)
    assert caught.value.message == f"The manifest is not valid: {reason}."


OPTIONAL = {
    "verifications", "note", "pinned", "run", "metadata", "untrusted", "excluded", "properties", "encryption",
    "suspicion", "known_losses", "baseline_since",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(factories.manifest().as_json().keys() - OPTIONAL - {"format"}))
def test_manifest_without_a_required_field_is_refused(name):
    document = factories.manifest().as_json()
    del document[name]
    with pytest.raises(ArtifactInvalid) as caught:
        Manifest.from_json(document)
    assert caught.value.message == f"The manifest is not valid: Object missing required field {name}."


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_manifest_that_is_no_object_is_refused(document):
    with pytest.raises(ArtifactInvalid, match=r"^The manifest is not valid: "):
        Manifest.from_json(document)


def test_manifest_with_a_newer_format_is_refused():
    with pytest.raises(ArtifactInvalid) as caught:
        Manifest.from_json({"format": 2, "everything": "different"})
    assert str(caught.value) == (
        "The manifest has format 2, and this version reads formats up to 1.\n"
        "Use the version that created the backup, or a newer one."
    )


def proof(level: Level, *, fault: str = "") -> Verification:
    return Verification(level=level, verified_at=factories.NOON, duration=1, error=fault)


GOOD, BEST = proof(Level.READ), proof(Level.RESTORED)
BAD, WORSE = proof(Level.READ, fault="cut off"), proof(Level.RESTORED, fault="a row is missing")


@pytest.mark.parametrize(
    ("given_", "holds"),
    [
        ([], None),
        ([GOOD], GOOD),
        ([BEST, GOOD], BEST),
        ([BAD], BAD),
        ([BEST, BAD], BAD),
        ([BAD, GOOD], GOOD),
        ([BEST, WORSE, GOOD], GOOD),
        ([GOOD, BAD, WORSE], WORSE),
    ],
)
def test_verification_is_the_strongest_valid_one(given_, holds):
    assert factories.manifest(verifications=tuple(given_)).verification is holds


def test_verification_is_the_newest_of_equal_ones():
    later = Verification(level=Level.RESTORED, verified_at=factories.NOON + dt.timedelta(days=1), duration=1)
    assert factories.manifest(verifications=(BEST,)).with_verification(later).verification is later

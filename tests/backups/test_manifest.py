"""A manifest is read back as it was written, or refused with the place where it is odd."""

import copy
import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.backups.manifest import ExcludedTable, Kind, Level, Manifest, Origin, TableDigest, Verification
from ops.errors import ArtifactInvalid
from tests.backups import factories

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.integers(min_value=0, max_value=2**50)
durations = st.floats(min_value=0, max_value=1e9)
moments = st.datetimes(timezones=st.just(dt.UTC)).filter(lambda when: 1970 <= when.year <= 9000)
proofs = st.builds(Verification, level=st.sampled_from(Level), when=moments, seconds=durations, fault=texts)
manifests = st.sampled_from(Kind).flatmap(
    lambda kind: st.builds(
        Manifest,
        id=st.uuids().map(str),
        name=st.from_regex(r"[a-z]{1,9}_[0-9]{8}_[0-9]{6}", fullmatch=True).map(lambda stem: f"{stem}.{kind}"),
        kind=st.just(kind),
        engine=st.sampled_from(["postgresql", "sqlite"]),
        database=texts,
        origin=st.sampled_from(Origin),
        who=texts,
        when=moments,
        seconds=durations,
        server_version=texts,
        tool_version=texts,
        software=texts,
        migrations=st.lists(texts, max_size=3).map(tuple),
        tables=st.dictionaries(texts, st.builds(TableDigest, rows=numbers, digest=texts), max_size=3),
        size=numbers,
        plain_size=numbers,
        sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
        proofs=st.lists(proofs, max_size=3).map(tuple),
        note=texts,
        keep=st.booleans(),
        run=texts,
        facts=st.dictionaries(texts, texts, max_size=3),
        untrusted=st.booleans(),
    ),
)
empty_tables = st.dictionaries(texts, st.just(TableDigest(rows=0, digest="0")), max_size=3)


@given(manifests, empty_tables, texts)
def test_what_is_written_is_read_back(manifest, empty, reason):
    manifest = dataclasses.replace(
        manifest,
        tables={**manifest.tables, **empty},
        excluded=tuple(ExcludedTable(table=table, reason=reason) for table in empty),
    )
    assert Manifest.from_json(json.loads(json.dumps(manifest.as_json()))) == manifest


def test_times_are_written_in_utc():
    berlin = dt.timezone(dt.timedelta(hours=1))
    document = factories.manifest(when=dt.datetime(2026, 11, 23, 13, tzinfo=berlin)).as_json()
    assert document["when"] == "2026-11-23T12:00:00+00:00"
    assert Manifest.from_json(document).when == factories.NOON


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (["id"], "7", "id is '7', not a UUID"),
        (["name"], "../../etc/passwd", "name is '../../etc/passwd', not the name of a backup's file"),
        (["name"], "homerack.sql.gz\n", "name is 'homerack.sql.gz\\n', not the name of a backup's file"),
        (["name"], "homerack_1.sqlite3", "name does not end in .sql.gz, its kind"),
        (["kind"], "zip", "kind is 'zip'; known are sql.gz, sql, dump, sqlite3.gz, sqlite3"),
        (["database"], 5, "database is 5, not a text"),
        (["who"], "a\0b", "who has characters that are no text"),
        (["note"], "\ud800", "note has characters that are no text"),
        (["note"], "x" * 100_001, "note has more than 100,000 characters"),
        (["size"], 2**53 + 1, "size is a number larger than anything here"),
        (["when"], "0001-01-01T00:00:00+00:00", "when is '0001-01-01T00:00:00+00:00', which is no year of ours"),
        (["when"], "9999-12-31T00:00:00+00:00", "when is '9999-12-31T00:00:00+00:00', which is no year of ours"),
        (["when"], "2026-11-23T12:00:00", "when is '2026-11-23T12:00:00', not a time in UTC such as"),
        (["when"], "2026-11-23T12:00:00+01:00", "when is '2026-11-23T12:00:00+01:00', not a time in UTC such as"),
        (["when"], "yesterday", "when is 'yesterday', not a time"),
        (["seconds"], True, "seconds is True, not a number of seconds"),
        (["seconds"], float("nan"), "seconds is nan, not a number of seconds"),
        (["migrations"], "all", "migrations is 'all', not a list"),
        (["migrations", 0], None, "migrations[0] is None, not a text"),
        (["tables"], [], "tables is [], not an object"),
        (["tables", "inventory_rack", "rows"], -1, "tables.inventory_rack.rows is -1, not a whole number of 0 or more"),
        (
            ["tables", "inventory_rack", "rows"],
            1.0,
            "tables.inventory_rack.rows is 1.0, not a whole number of 0 or more",
        ),
        (["tables", "inventory_rack"], 3, "tables.inventory_rack is 3, not an object"),
        (["size"], True, "size is True, not a whole number of 0 or more"),
        (["sha256"], "F" * 64, f"sha256 is '{'F' * 57}"),
        (["proofs", 0, "level"], "good", "proofs[0].level is 'good'; known are complete, restored"),
        (["keep"], 1, "keep is 1, not true or false"),
        (["colour"], "red", "colour is unknown"),
        (["proofs", 0, "colour"], "red", "proofs[0].colour is unknown"),
        (["excluded"], {}, "excluded is {}, not a list"),
        (["excluded"], [{"table": "x"}], "excluded[0].reason is missing"),
        (["excluded"], [{"table": "x", "reason": 1}], "excluded[0].reason is 1, not a text"),
        (["excluded"], [{"table": "x", "reason": ""}], "excluded names 'x', which is not among the empty tables"),
        (
            ["excluded"],
            [{"table": "inventory_rack", "reason": ""}],
            "excluded names 'inventory_rack', which is not among the empty tables",
        ),
        (["format"], 0, "format is 0"),
        (["format"], "1", "format is '1', not a whole number of 0 or more"),
    ],
)
def test_an_odd_value_is_refused_with_its_place(place, value, reason):
    document: Any = copy.deepcopy(factories.manifest().as_json())
    part = document
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    with pytest.raises(ArtifactInvalid) as caught:
        Manifest.from_json(document)
    assert caught.value.message.startswith(f"The manifest is not valid: {reason}")


@pytest.mark.parametrize("name", sorted(factories.manifest().as_json()))
def test_every_field_has_to_be_there(name):
    document = factories.manifest().as_json()
    del document[name]
    with pytest.raises(ArtifactInvalid) as caught:
        Manifest.from_json(document)
    assert caught.value.message == f"The manifest is not valid: {name} is missing."


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_something_else_than_an_object_is_refused(document):
    with pytest.raises(ArtifactInvalid, match=r"^The manifest is not valid: it is .*, not an object\."):
        Manifest.from_json(document)


def test_a_newer_format_is_refused_whatever_is_in_it():
    with pytest.raises(ArtifactInvalid) as caught:
        Manifest.from_json({"format": 2, "everything": "different"})
    assert str(caught.value) == (
        "The manifest has format 2, and this version of the software knows formats up to 1.\n"
        "Use the version that made the backup, or a newer one."
    )


def proof(level: Level, *, fault: str = "") -> Verification:
    return Verification(level=level, when=factories.NOON, seconds=1, error=fault)


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
def test_the_proof_that_holds(given_, holds):
    assert factories.manifest(proofs=tuple(given_)).verification is holds


def test_the_newest_of_equal_proofs_holds():
    later = Verification(level=Level.RESTORED, when=factories.NOON + dt.timedelta(days=1), seconds=1)
    assert factories.manifest(proofs=(BEST,)).with_verification(later).verification is later

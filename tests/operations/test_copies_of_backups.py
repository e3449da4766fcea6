"""Backups with copies in other storage locations: which copy is read, and what is recorded of damaged ones."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.backups.encryption import new_identity, recipient_of
from ops.backups.signing import Keys
from tests.operations.harness import Lab, Outcome, postgresql_first, sqlite_first
from tests.support.bucket import S3
from tests.support.sshd import Sshd

MACHINE, PERSON = new_identity(), new_identity()
CHANGE = "UPDATE racks SET name = 'Changed'"
DIFFERS, GONE = "Its SHA-256 is not that of the backup.", "Its data file is missing."
WRONG = "is not the file that its manifest describes: its SHA-256 differs"
CHOOSE = "It was damaged or replaced. Choose another backup: manage.py list_backups"
SCHEDULED = "from ops import tasks; tasks.restore_test()"


class Copies:
    """A lab with one backup, and a copy of it in `nas`, a directory unless `settings` say otherwise."""

    def __init__(self, lab: Lab, **settings: str) -> None:
        self.lab, self.nas = lab, lab.folder / "nas"
        plain = {"BACKUP_LOCATION_NAS": str(self.nas), "BACKUP_LOCATION_NAS_ENCRYPTED": "false"}
        self.settings = {"BACKUP_LOCATIONS": "nas", "BACKUP_SIGNING_KEY": "of the tests"} | (settings or plain)
        self.name = str(self.run_json("backup_database")["backup"])

    def manage(self, *arguments: str, **how: Any) -> Outcome:
        return self.lab.manage(*arguments, **self.settings, **how)

    def run(self, *arguments: str, **how: Any) -> Outcome:
        return self.lab.run(*arguments, **self.settings, **how)

    def run_json(self, *arguments: str) -> Any:
        return self.lab.run_json(*arguments, **self.settings)

    def file(self, location: str) -> Path:
        return (self.nas if location == "nas" else self.lab.backups) / self.name

    def known(self) -> tuple[str, dict[str, str]]:
        """What is wrong with the backup, and with each of its copies."""
        (backup,) = [found for found in self.run_json("list_backups")["backups"] if found["name"] == self.name]
        failed = [done["error"] for done in backup["manifest"]["verifications"] if done["error"]]
        return backup["error"] or "".join(failed), {copy["location"]: copy["error"] for copy in backup["copies"]}

    def state(self) -> tuple[str, bool, int]:
        """The same in the row, whose state the console shows: error, whether the file is missing, good copies."""
        fields = "verification_error, file_missing, copy_count"
        ((error, missing, number),) = self.lab.rows(f"SELECT {fields} FROM ops_backup WHERE name = '{self.name}'")
        return error, bool(missing), number

    def reports(self) -> list[Any]:
        return [json.loads(path.read_text()) for path in sorted((self.lab.backups / "reports").glob("*.json"))]

    def last_run(self, kind: str) -> tuple[str, str, str]:
        query = f"SELECT status, error, hint FROM ops_run WHERE kind = '{kind}' ORDER BY requested_at DESC LIMIT 1"
        ((status, error, hint),) = self.lab.rows(query)
        return status, error, hint


@pytest.fixture
def copies(lab: Lab) -> Copies:
    return Copies(lab)


@pytest.fixture
def over_sftp(lab: Lab, sshd: Sshd) -> Copies:
    """The copy is encrypted, on an SFTP server."""
    return Copies(
        lab,
        BACKUP_LOCATION_NAS=f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{sshd.files}/rack",
        BACKUP_LOCATION_NAS_HOST_KEY=sshd.host_key,
        BACKUP_LOCATION_NAS_IDENTITY_FILE=str(sshd.identity_file),
        BACKUP_AGE_IDENTITY=MACHINE,
        BACKUP_AGE_RECIPIENTS=recipient_of(PERSON),
    )


def damage(path: Path) -> None:
    """One bit, in the middle: the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def unmount(path: Path) -> None:
    """The location is an empty directory."""
    path.parent.rename(path.parent.with_name("unmounted"))
    path.parent.mkdir()


# --- Verification -----------------------------------------------------------------------------------------------------
FAULTS: list[tuple[str, Callable[[Path], None], int, dict[str, str]]] = [
    ("local", damage, 3, {"local": DIFFERS, "nas": ""}),
    ("local", Path.unlink, 1, {"nas": ""}),
    ("nas", damage, 3, {"local": "", "nas": DIFFERS}),
    ("nas", Path.unlink, 3, {"local": "", "nas": GONE}),
    ("nas", unmount, 1, {"local": "", "nas": ""}),
]


@sqlite_first
@pytest.mark.parametrize(("location", "fault", "code", "known"), FAULTS)
def test_backup_has_not_failed_while_another_copy_is_good(
    copies: Copies, location: str, fault: Callable[[Path], None], code: int, known: dict[str, str]
) -> None:
    """Whichever copy is read, and however."""
    other = "nas" if location == "local" else "local"
    fault(copies.file(location))
    for how in ((), ("--restore",)):
        found = copies.manage("verify_backup", copies.name, *how, "--location", location)
        assert found.code == code, found
        if code == 3:
            assert f"{copies.name} has good copies in {other}, and can be restored from there." in found.out
        assert copies.known() == ("", known)
        assert copies.run_json("verify_backup", copies.name, *how, "--location", other)["unread"] == {}
        assert copies.known() == ("", known)
    assert copies.state() == ("", False, 1 if code == 3 or location == "local" else 2)
    assert copies.run("verify_backup", "--all").code == 0


@sqlite_first
def test_backup_has_failed_when_all_copies_are_damaged(copies: Copies) -> None:
    damage(copies.file("local"))
    assert copies.manage("verify_backup", copies.name).code == 3
    damage(copies.file("nas"))
    found = copies.manage("verify_backup", copies.name, "--restore")
    assert found.code == 3
    assert "Make a new one: backup_database" in found.out
    error, known = copies.known()
    assert error
    assert known == {"local": DIFFERS, "nas": DIFFERS}
    assert copies.state() == (f"{copies.name} {WRONG}", False, 0)
    assert copies.manage("restore_database", copies.name, "--yes").code == 3


@sqlite_first
def test_copy_that_is_repaired_counts_again(copies: Copies) -> None:
    damage(copies.file("nas"))
    assert copies.manage("verify_backup", copies.name, "--location", "nas").code == 3
    copies.run("copy_backups")
    assert copies.known() == ("", {"local": "", "nas": ""})
    shutil.copy(copies.file("nas"), saved := copies.lab.folder / "saved")
    damage(copies.file("local"))
    assert copies.manage("verify_backup", copies.name).code == 3
    shutil.copy(saved, copies.file("local"))
    copies.run("verify_backup", copies.name, "--location", "local")
    assert copies.known() == ("", {"local": "", "nas": ""})


@sqlite_first
def test_backup_that_cannot_be_reached_does_not_stop_the_verification_of_others(copies: Copies) -> None:
    newer = copies.run_json("backup_database")["backup"]
    copies.file("local").unlink()
    unmount(copies.file("nas"))
    found = copies.manage("verify_backup", "--all", "--json")
    assert found.code == 3
    assert found.json["verifications"][newer]["error"] == ""
    assert found.json["unread"].keys() == {copies.name}
    status, error, hint = copies.last_run("verification")
    assert (status, hint) == ("failed", "Check the storage locations.")
    assert error.startswith(f"Not every backup passed. {copies.name}: nas ({copies.nas}) has no marker")
    refused = copies.manage("verify_backup", copies.name)
    assert refused.code == 1
    assert "Is it mounted, and is the address right?" in refused.error
    assert copies.known() == ("", {"nas": ""})


# --- Restore ----------------------------------------------------------------------------------------------------------
@sqlite_first
@pytest.mark.parametrize("fault", [Path.unlink, truncate])
def test_restore_reads_another_copy_when_the_file_here_is_missing_or_cut_off(
    copies: Copies, fault: Callable[[Path], None]
) -> None:
    before = copies.lab.content()
    copies.lab.rows(CHANGE)
    fault(copies.file("local"))
    restored = copies.run_json("restore_database", copies.name, "--yes")
    assert (restored["location"], restored["where"]) == ("nas", f"nas ({copies.nas})")
    assert copies.lab.content() == before


@sqlite_first
def test_restore_of_a_damaged_copy_changes_nothing_and_names_another(copies: Copies) -> None:
    before = copies.lab.content()
    copies.lab.rows(CHANGE)
    changed = copies.lab.content()
    damage(copies.file("local"))
    refused = copies.manage("restore_database", copies.name, "--yes")
    assert refused.code == 3
    assert (
        f"The copy of {copies.name} in local ({copies.lab.backups}) is damaged. Nothing was changed." in refused.error
    )
    assert f"manage.py restore_database {copies.name} --location nas\n" in refused.error
    assert copies.lab.content() == changed
    assert copies.known() == ("", {"local": DIFFERS, "nas": ""})
    assert copies.state() == ("", False, 1)
    done = copies.run("restore_database", copies.name, "--yes")
    assert done.out.count(f"Read from nas ({copies.nas})") == 2
    assert copies.lab.content() == before


@sqlite_first
def test_copy_that_is_damaged_during_the_run_is_recorded(copies: Copies) -> None:
    """With --to there is no preview, which would have read it before."""
    damage(copies.file("nas"))
    refused = copies.manage("restore_database", copies.name, "--location", "nas", "--to", "older.db")
    assert refused.code == 3
    assert "--location local\n" in refused.error
    assert copies.known() == ("", {"local": "", "nas": DIFFERS})
    assert copies.state() == ("", False, 1)
    status, error, hint = copies.last_run("restore")
    assert status == "failed"
    assert error.startswith(f"The copy of {copies.name} in nas ({copies.nas}) is damaged. Nothing was changed.")
    assert hint == f"There is another good copy: manage.py restore_database {copies.name} --location local"


@sqlite_first
def test_last_copy_that_turns_out_damaged_makes_the_backup_fail(copies: Copies) -> None:
    copies.file("local").unlink()
    damage(copies.file("nas"))
    assert copies.manage("restore_database", copies.name, "--to", "older.db").code == 3
    assert copies.known() == (GONE, {"nas": DIFFERS})
    assert copies.state() == (f"{copies.name} {WRONG}", True, 0)


@sqlite_first
def test_damaged_backup_without_other_locations_fails_when_it_is_restored(lab: Lab) -> None:
    name = lab.back_up()
    damage(lab.backups / name)
    refused = lab.manage("restore_database", name, "--yes")
    assert refused.code == 3
    assert refused.error == f"CommandError: {name} {WRONG}.\n{CHOOSE}\n"
    assert lab.rows(f"SELECT verification_error, copy_count FROM ops_backup WHERE name = '{name}'") == [
        (f"{name} {WRONG}", 1)
    ]
    assert lab.manage("restore_database", "--latest", "--yes").code == 1


@sqlite_first
def test_location_that_is_not_known_or_has_no_copy_is_refused(copies: Copies) -> None:
    error = copies.manage("restore_database", copies.name, "--yes", "--location", "nase").error
    assert "There is no storage location 'nase' besides" in error
    assert "Locations in BACKUP_LOCATIONS: nas." in error
    copies.file("local").unlink()
    error = copies.manage("restore_database", copies.name, "--yes", "--location", "local").error
    assert error == f"CommandError: local has no copy of {copies.name}.\nLocations with a good copy: nas.\n"
    error = copies.manage("restore_database", "--backup-file", "x.sql", "--location", "nas").error
    assert "--backup-file is not in it." in error


@postgresql_first
def test_restore_from_an_encrypted_location_and_from_here_are_equal(over_sftp: Copies, sshd: Sshd) -> None:
    copies = over_sftp
    before = copies.lab.content()
    copies.lab.rows(CHANGE)
    restored = copies.run_json("restore_database", copies.name, "--yes", "--location", "nas")
    assert restored["location"] == "nas"
    assert restored["where"] == f"nas ({copies.settings['BACKUP_LOCATION_NAS']})"
    assert copies.lab.content() == before
    sshd.stop()
    try:
        refused = copies.manage("restore_database", copies.name, "--yes", "--location", "nas")
    finally:
        sshd.start()
    assert refused.code == 1
    assert "is unreachable" in refused.error
    assert f"There is another good copy: manage.py restore_database {copies.name} --location local\n" in refused.error
    assert copies.known() == ("", {"local": "", "nas": ""})


# --- Restore tests ----------------------------------------------------------------------------------------------------
@postgresql_first
def test_restore_test_of_an_encrypted_copy_measures_and_reports(over_sftp: Copies) -> None:
    copies = over_sftp
    found = copies.run_json("verify_backup", "--latest", "--restore", "--location", "nas")
    (test,) = found["tests"]
    assert (test["backup"], test["location"], test["error"]) == (copies.name, "nas", "")
    assert test["where"] == f"nas ({copies.settings['BACKUP_LOCATION_NAS']})"
    assert test["key"] == recipient_of(MACHINE)
    assert list(test["seconds"]) == ["list", "load", "compare", "migrate"]
    assert test["recovery_time"] == pytest.approx(sum(test["seconds"].values()), abs=0.002)
    assert 0 < test["reading"] <= test["seconds"]["load"] + 0.001
    assert 0 < test["recovery_point_age"] < 600
    manifest = json.loads((copies.lab.backups / f"{copies.name}.json").read_text())
    tables = len(manifest["tables"])
    assert [(check["name"], check["number"], check["passed"]) for check in test["checks"]] == [
        ("SHA-256 of the file", manifest["size"], True),
        ("row counts", tables, True),
        ("content hashes", tables, True),
        ("migrations", len(manifest["migrations"]), True),
    ]
    assert manifest["verifications"][-1]["location"] == "nas"
    (report,) = copies.reports()
    assert report["test"] == test
    assert (report["sha256"], report["run"]) == (manifest["sha256"], found["run"])
    assert Keys(["of the tests"]).check(report) == "signed"
    assert Keys(["of the tests"]).check(report | {"requested_by": "eve"}) == "tampered"


@sqlite_first
def test_output_of_a_restore_test_has_the_two_numbers(copies: Copies) -> None:
    out = copies.run("verify_backup", "--latest", "--restore", "--location", "nas").out
    assert f"✓ Restore test of {copies.name} in nas passed in " in out
    assert f"  Read from nas ({copies.nas}).\n" in out
    loss = "less than a minute, the age of the newest good backup there."
    assert f"  Data loss if only nas is left (RPO): {loss}\n" in out
    assert "  Time to restore from nas (RTO): " in out
    assert "(of which " in out
    assert "  Checks: SHA-256 of the file (" in out
    assert "  Report: reports/" in out


@sqlite_first
def test_schedule_tests_the_farthest_location_that_answers(over_sftp: Copies, sshd: Sshd, tmp_path: Path) -> None:
    copies = over_sftp
    copies.settings |= {"BACKUP_LOCATIONS": "disk nas", "BACKUP_LOCATION_DISK": str(tmp_path / "disk")}
    copies.run("copy_backups")
    copies.run("shell", "-c", SCHEDULED)
    assert copies.reports()[-1]["test"]["location"] == "nas"
    assert copies.reports()[-1]["test"]["note"] == ""
    sshd.stop()
    try:
        copies.run("shell", "-c", SCHEDULED)
    finally:
        sshd.start()
    test = copies.reports()[-1]["test"]
    assert (test["location"], test["error"], test["key"]) == ("disk", "", recipient_of(MACHINE))
    assert test["note"].startswith("nas was not tested: sftp://")
    assert copies.last_run("restore_test") == ("succeeded", "", "")


@pytest.mark.slow
@sqlite_first
def test_schedule_gives_up_a_silent_location(over_sftp: Copies, sshd: Sshd) -> None:
    """It accepts connections and never answers."""
    sshd.freeze()
    try:
        over_sftp.run("shell", "-c", SCHEDULED)
    finally:
        sshd.thaw()
    test = over_sftp.reports()[-1]["test"]
    assert (test["location"], test["error"]) == ("local", "")
    assert "is unreachable" in test["note"]


@sqlite_first
def test_copy_in_a_bucket_is_tested_and_restored(lab: Lab, s3: S3) -> None:
    keys = {"BACKUP_AGE_IDENTITY": MACHINE, "BACKUP_AGE_RECIPIENTS": recipient_of(PERSON)}
    copies = Copies(lab, **s3.variables() | keys | {"BACKUP_LOCATION_BUCKET_ENCRYPTED": "true"})
    before = lab.content()
    lab.rows(CHANGE)
    (test,) = copies.run_json("verify_backup", "--latest", "--restore", "--location", "bucket")["tests"]
    assert (test["location"], test["error"], test["key"]) == ("bucket", "", recipient_of(MACHINE))
    copies.file("local").unlink()
    assert copies.run_json("restore_database", copies.name, "--yes")["location"] == "bucket"
    assert lab.content() == before


@sqlite_first
def test_location_without_the_manifest_cannot_be_recovered_from(copies: Copies) -> None:
    """The test fails, and the backup does not."""
    copies.file("nas").with_name(f"{copies.name}.json").unlink()
    found = copies.manage("verify_backup", copies.name, "--restore", "--location", "nas")
    assert found.code == 3
    assert "Its manifest is missing in nas." in found.out
    assert copies.known() == ("", {"local": "", "nas": ""})


@sqlite_first
def test_copy_that_no_key_opens_says_nothing_about_the_backup(over_sftp: Copies) -> None:
    copies = over_sftp
    copies.settings["BACKUP_AGE_IDENTITY"] = new_identity()
    found = copies.manage("verify_backup", copies.name, "--restore", "--location", "nas")
    assert found.code != 0
    assert "No key here opens " in found.output
    assert copies.known()[0] == ""
    copies.run("verify_backup", copies.name, "--restore")


@sqlite_first
def test_reports_travel_to_other_locations_and_survive_a_restore(copies: Copies) -> None:
    copies.run("verify_backup", copies.name, "--restore")
    (report,) = [path.name for path in (copies.lab.backups / "reports").iterdir()]
    (copies.lab.backups / "reports" / f"{report}.partial").write_text("{")
    copies.run("restore_database", copies.name, "--yes")
    copies.run("copy_backups")
    assert [path.name for path in (copies.nas / "reports").iterdir()] == [report]
    assert (copies.nas / "reports" / report).read_bytes() == (copies.lab.backups / "reports" / report).read_bytes()

"""The whole story: three copies of a lab, a lost machine, a printed key, and then an empty database for a month."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.operations.harness import Lab
from tests.operations.test_recover import MACHINE, SIGNING_KEY, Site, bucket, sftp
from tests.operations.test_suspicious_backups import delete_rows, nights
from tests.support.bucket import S3
from tests.support.sshd import Sshd

pytestmark = pytest.mark.slow


def variables_of(site: Site, s3: S3, folder: Path) -> dict[str, str]:
    """A directory, an SFTP server and a bucket, all encrypted."""
    s3_place = bucket(s3, s3.make_bucket())
    named = {
        **{f"BACKUP_LOCATION_FAR_{name}": value for name, value in site.place.variables.items()},
        **{f"BACKUP_LOCATION_BUCKET_{name}": value for name, value in s3_place.variables.items()},
    }
    return {
        "BACKUP_LOCATIONS": "disk far bucket",
        "BACKUP_LOCATION_DISK": str(folder / "disk"),
        "BACKUP_LOCATION_FAR": site.place.address,
        "BACKUP_LOCATION_BUCKET": s3_place.address,
        "BACKUP_AGE_IDENTITY": MACHINE,
        "BACKUP_SIGNING_KEY": SIGNING_KEY,
        **named,
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_lab_comes_back_from_one_location_and_outlives_an_empty_month(
    make_lab: Callable[[str], Lab], kind: str, sshd: Sshd, s3: S3, tmp_path: Path
) -> None:
    site = Site(make_lab(kind), sftp(sshd))
    lab, variables = site.lab, variables_of(site, s3, tmp_path)
    kit = lab.folder / "kit.html"
    lab.run("create_recovery_kit", "--output", str(kit), **variables)
    printed = re.findall(r"AGE-SECRET-KEY-1[A-Z0-9]+", kit.read_text())[0]
    made = lab.run_json("backup_database", **variables)
    assert {name: each["error"] for name, each in made["copies"]["locations"].items()} == dict.fromkeys(
        ("disk", "far", "bucket"), ""
    )
    (listed,) = lab.run_json("list_backups", **variables)["backups"]
    assert "4 copies" in lab.run("list_backups", **variables).out
    before, runs = lab.content(), lab.runs()

    site.lose()
    kit.unlink()
    outcome = site.recovered("--json", kit=site.kit(secret_key=printed))

    assert outcome.json["backup"] == listed["name"]
    assert lab.content() == before
    assert set(runs) - set(lab.runs()) == {("copy", "succeeded")}
    assert not [run for run in lab.runs() if run[1] == "interrupted"]

    machine = site.new_machine()
    full = nights(lab, 0, 8, **machine)
    content = lab.content()
    delete_rows(lab)
    empty = nights(lab, 8, 38, **machine)
    names = [each["name"] for each in lab.run_json("list_backups", **machine)["backups"]]
    assert full[-1] in names
    assert len(set(empty) & set(names)) < 10
    lab.run("restore_database", full[-1], "--yes", **machine)
    assert lab.content() == content

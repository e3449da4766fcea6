"""After a change of the signing key, own backups stay trusted with its fallbacks, and a missing key is reported."""

import json
import re
from pathlib import Path

import pytest

from tests.operations.harness import Lab

OLD, NEW = "the key that signed before " * 3, "the key that signs from now on " * 2
OLD, NEW = OLD.replace(" ", "-"), NEW.replace(" ", "-")


def key_of(lab: Lab, name: str) -> str:
    return str(json.loads((lab.backups / f"{name}.json").read_text())["signature"]["key"])


@pytest.mark.parametrize("where", ["variable", "file"])
def test_fallback_key_verifies_and_the_current_one_signs(sqlite_lab: Lab, tmp_path: Path, where: str) -> None:
    lab = sqlite_lab
    name = lab.run_json("backup_database", BACKUP_SIGNING_KEY=OLD)["backup"]
    before = key_of(lab, name)
    older = {"BACKUP_SIGNING_KEY_FALLBACKS": f"a-still-older-one {OLD}"}
    if where == "file":
        (tmp_path / "keys").write_text(f"a-still-older-one\n{OLD}\n")
        older = {"BACKUP_SIGNING_KEY_FALLBACKS_FILE": str(tmp_path / "keys")}
    changed = {"BACKUP_SIGNING_KEY": NEW, **older}
    (listed,) = lab.run_json("list_backups", **changed)["backups"]
    assert listed["trust"] == "signed"
    assert "not named" not in lab.run("list_backups", **changed).output
    lab.run("restore_database", name, "--yes", "--no-pre-backup", **changed)
    # A verification writes into the manifest, which is signed again.
    lab.run("verify_backup", name, **changed)
    assert key_of(lab, name) != before
    assert lab.run_json("list_backups", BACKUP_SIGNING_KEY=NEW)["backups"][0]["trust"] == "signed"


def test_fallback_of_the_secret_key_verifies(sqlite_lab: Lab) -> None:
    name = sqlite_lab.run_json("backup_database", SECRET_KEY=OLD)["backup"]
    changed = {"SECRET_KEY": NEW, "SECRET_KEY_FALLBACKS": OLD}
    sqlite_lab.run("restore_database", name, "--yes", "--no-pre-backup", **changed)


def test_unknown_key_is_reported_by_every_list(sqlite_lab: Lab) -> None:
    lab = sqlite_lab
    names = [lab.run_json("backup_database", SECRET_KEY=OLD)["backup"] for _ in range(2)]
    what = re.escape(
        f"2 backups are signed with an unknown key and not trusted; the newest is {names[1]}. If the key was changed,"
        " add the old key to BACKUP_SIGNING_KEY_FALLBACKS and restart the site."
    )
    assert re.search(what, lab.run("list_backups").out)
    assert re.search(what, lab.run("rebuild_backup_index").out)
    checked = lab.manage("check_database", "--json")
    assert checked.code == 3
    assert re.search(what, checked.json["checks"]["backups"]["detail"])
    refused = lab.manage("restore_database", names[0], "--yes")
    assert refused.code == 3
    assert refused.error == (
        f"CommandError: {names[0]} was signed with an unknown key, so its origin is unknown. Nothing was changed.\n"
        "If it was made here before the key was changed, add the old key to BACKUP_SIGNING_KEY_FALLBACKS. To restore"
        " its rows nevertheless, add --untrusted: the project's migrations create the tables, and nothing in the file"
        " is executed.\n"
    )
    known = {"BACKUP_SIGNING_KEY_FALLBACKS": OLD}
    lab.run("rebuild_backup_index", **known)
    assert "not named" not in lab.run("list_backups", **known).output
    assert lab.run_json("check_database", **known)["checks"]["backups"]["status"] == "healthy"

"""A place that was taken over from another installation, whose nightly backups have the same names."""

import pytest

from ops.backups.encryption import AgeKeys
from ops.backups.repository import MANIFEST
from ops.backups.signing import Keys
from tests.backups import factories
from tests.locations.support import PERSON, Installation, pyrage

pytestmark = pytest.mark.django_db(transaction=True)
SHARED = {"name": "nas", "retention_days": 30}


@pytest.fixture(params=[True, False], ids=["encrypted", "plain"])
def labs(request, tmp_path, monkeypatch) -> tuple[Installation, Installation]:
    """Another one has a backup in `nas`, and this one makes one of the same name."""
    settings = {**SHARED, "url": str(tmp_path / "nas"), "encrypted": request.param}
    for folder in ("theirs", "ours"):
        (tmp_path / folder).mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(factories, "KEYS", Keys(["the key of another installation"]))
        theirs = Installation(tmp_path / "theirs", settings)
        theirs.age_keys = AgeKeys.of_machine([str(pyrage.x25519.Identity.generate())], [str(PERSON.to_public())])
        theirs.back_up(content=b"theirs" * 1000)
        theirs.copy()
    return theirs, Installation(tmp_path / "ours", settings)


def stored(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "nas").glob("homerack_*")}


def test_backup_of_another_installation_is_not_replaced(labs, tmp_path):
    before = stored(tmp_path)
    _theirs, ours = labs
    name = ours.back_up(content=b"ours, and longer" * 1000)
    result = ours.copy(take_over=True).locations["nas"]
    assert result.error == (
        f"{name} was not copied to nas ({tmp_path}/nas): another installation has a backup of this name there."
        " Give each installation a directory or a prefix of its own."
    )
    assert stored(tmp_path) == before
    assert ours.catalog.get(name).reachable == ("local",)


def test_backup_of_another_installation_is_not_deleted(labs, tmp_path):
    before = stored(tmp_path)
    _theirs, ours = labs
    ours.catalog.delete(ours.back_up())
    ours.copy(take_over=True)
    assert stored(tmp_path) == before
    assert ours.state("nas").deletions == ()


def test_own_copy_with_a_damaged_manifest_is_replaced(tmp_path):
    lab = Installation(tmp_path, SHARED)
    name = lab.back_up()
    lab.copy()
    (tmp_path / "nas" / f"{name}{MANIFEST}.age").write_bytes(b"damaged")
    (tmp_path / "nas" / f"{name}.age").write_bytes(b"damaged")
    assert lab.copy().locations["nas"].copied == (name,)
    assert lab.catalog.get(name).reachable == ("local", "nas")

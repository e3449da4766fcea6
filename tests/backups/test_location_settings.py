"""The setting BACKUP_LOCATIONS, and the storages that it names."""

from pathlib import Path
from typing import Any

import pytest

from ops.backups.locations.location import LocationSettings, read_settings, storage_of
from ops.backups.retention import Policy
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.backups.storage.s3 import S3BackupStorage
from ops.backups.storage.sftp import SftpBackupStorage
from ops.errors import PreconditionFailed

NAS = {"name": "nas", "url": "/mnt/nas"}
ADDRESSES = "/mnt/disk/backups, sftp://user@host/path or s3://bucket/prefix"
ADDRESS = f"An address is {ADDRESSES}."
KEYS = f"Each entry has a name, and as url {ADDRESSES}. docs/settings.md lists the other keys."


def settings(**fields: Any) -> LocationSettings:
    (found,) = read_settings([NAS | fields])
    return found


def refusal(documents: object) -> str:
    with pytest.raises(PreconditionFailed) as caught:
        read_settings(documents)
    return str(caught.value)


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [None, 5, "nas", {"name": "nas"}, [5]])
def test_setting_that_is_no_list_of_dictionaries_is_refused(documents: object) -> None:
    assert refusal(documents) == f"BACKUP_LOCATIONS is not a list of dictionaries.\n{KEYS}"


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"name": "nas"}, "Object missing required field url"),
        ({"url": "/mnt/nas"}, "Object missing required field name"),
        (NAS | {"host_keys": "x"}, "Object contains unknown field host_keys"),
        (NAS | {"url": ""}, "Expected str of length >= 1 at url"),
        (NAS | {"encrypted": "yes"}, "Expected bool, got str at encrypted"),
        (NAS | {"lock_days": -1}, "Expected int >= 0 at lock_days"),
        (NAS | {"lock_days": 36501}, "Expected int <= 36500 at lock_days"),
        (NAS | {"retention_days": 0}, "Expected int >= 1 at retention_days"),
        (NAS | {"keep_daily": -1}, "Expected int >= 0 at keep_daily"),
    ],
)
def test_entry_with_a_wrong_field_is_refused(entry: dict[str, Any], fault: str) -> None:
    other = {"name": "disk", "url": "/mnt/disk"}
    assert refusal([other, entry]) == f"Entry 2 of BACKUP_LOCATIONS is not valid: {fault}.\n{KEYS}"


@pytest.mark.parametrize("name", ["", "Nas", "my-nas", "2", "n" * 32, "nas\n", "../x"])
def test_name_with_other_characters_is_refused(name: str) -> None:
    assert refusal([NAS | {"name": name}]).startswith("Entry 1 of BACKUP_LOCATIONS is not valid: Expected str matching")


@pytest.mark.parametrize("entries", [[NAS, NAS], [NAS | {"name": "local"}]])
def test_name_of_another_location_is_refused(entries: list[dict[str, Any]]) -> None:
    assert refusal(entries) == (
        f"Two storage locations are named {entries[-1]['name']!r}.\n"
        "'local' is BACKUP_DIR. Give each location in BACKUP_LOCATIONS a name of its own."
    )


@pytest.mark.parametrize(
    "url",
    [
        "backups", "./backups", "/", "file:///mnt/nas", "ftp://ada@host/backups", "https://host/backups",
        "sftp://host/backups", "sftp://ada@/backups", "sftp://ada@host", "sftp://ada@host/", "sftp://ada@host:0/backups",
        "s3:///backups", "s3:bucket", "s3://bucket:9000/backups",
    ],
)  # fmt: skip
def test_address_that_is_not_complete_is_refused(url: str) -> None:
    assert refusal([NAS | {"url": url}]) == (
        f"The address of the storage location 'nas' is {url!r}, which is not valid.\n{ADDRESS}"
    )


@pytest.mark.parametrize("url", ["sftp://ada:secret@host:x/backups", "sftp://ada:sec/ret@host/", "sftp://ada@[::1/x"])
def test_address_that_cannot_be_read_is_refused_and_not_shown(url: str) -> None:
    assert refusal([NAS | {"url": url}]) == f"The address of the storage location 'nas' is not valid.\n{ADDRESS}"


@pytest.mark.parametrize("url", ["sftp://ada:secret@host/backups", "s3://key:secret@bucket/rack", "ftp://a:secret@h/"])
def test_address_with_a_password_is_refused_and_not_shown(url: str) -> None:
    assert refusal([NAS | {"url": url}]) == (
        "The address of the storage location 'nas' contains a password.\n"
        "Remove it from the address, and set BACKUP_LOCATION_NAS_PASSWORD."
    )


def test_endpoint_that_is_no_url_is_refused() -> None:
    assert refusal([NAS | {"url": "s3://bucket", "endpoint": "s3.example.net"}]) == (
        "The endpoint of the storage location 'nas' is 's3.example.net', which is no URL.\n"
        "Begin it with https:// or http://, for example https://s3.example.net"
    )


# --- What is read -----------------------------------------------------------------------------------------------------


def test_locations_keep_their_order() -> None:
    names = [found.name for found in read_settings(({"name": "b", "url": "/b"}, {"name": "a", "url": "/a"}))]
    assert names == ["b", "a"]
    assert read_settings(()) == ()


def test_repr_shows_no_secret() -> None:
    secrets = {"password": "secret 1", "access_key": "secret 2", "secret_key": "secret 3"}
    assert "secret" not in repr(settings(**secrets))


@pytest.mark.parametrize(
    ("url", "changes", "expected"),
    [
        ("/mnt/nas", {}, False),
        ("/mnt/nas", {"off_site": True}, True),
        ("sftp://ada@host/backups", {}, True),
        ("sftp://ada@host/backups", {"off_site": False}, False),
        ("s3://bucket", {}, True),
    ],
)
def test_servers_are_off_site_unless_they_say_otherwise(url: str, changes: dict[str, Any], *, expected: bool) -> None:
    assert settings(url=url, **changes).is_off_site is expected


def test_policy_follows_the_general_one_where_nothing_else_is_set() -> None:
    general = Policy(days=7, daily=1, weekly=2, monthly=3, yearly=4)
    assert settings().policy(general) == general
    own = settings(retention_days=30, keep_weekly=0, keep_yearly=10).policy(general)
    assert own == Policy(days=30, daily=1, weekly=0, monthly=3, yearly=10)


def test_directory_is_the_path_as_it_is_written() -> None:
    storage = storage_of(settings(url="/mnt/50% full?/#1"))
    assert isinstance(storage, PrivateFileSystemStorage)
    assert storage.location == Path("/mnt/50% full?/#1")


def test_sftp_address_gives_user_host_port_and_path() -> None:
    storage = storage_of(settings(url="sftp://ada%40lab@nas.lan:2222/my%20backups", host_key="k", password="secret"))
    assert isinstance(storage, SftpBackupStorage)
    server = storage.server
    assert (server.user, server.host, server.port, storage.root) == ("ada@lab", "nas.lan", 2222, "/my backups")
    assert (server.name, server.host_key, server.password) == ("nas", "k", "secret")


def test_s3_address_gives_bucket_and_prefix() -> None:
    storage = storage_of(settings(url="s3://lab/rack/1", endpoint="http://s3.lan:9000", region="here", lock_days=3))
    assert isinstance(storage, S3BackupStorage)
    assert (storage.bucket_name, storage.location, storage.endpoint_url) == ("lab", "rack/1", "http://s3.lan:9000")
    assert (storage.name, storage.region_name, storage.lock_days) == ("nas", "here", 3)


def test_messages_of_a_bucket_name_the_variables_of_its_location() -> None:
    storage = storage_of(settings(url="s3://lab", endpoint="http://127.0.0.1:1", access_key="a", secret_key="b"))
    with pytest.raises(PreconditionFailed) as caught:
        storage.exists("x")
    assert caught.value.hint == "Check the settings BACKUP_LOCATION_NAS_… and the permissions of their key."

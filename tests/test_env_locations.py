"""Storage locations in the environment."""

import os
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from homerack.config.locations import FLAGS, NUMBERS, SECRETS, TEXTS, read_locations
from ops.backups.locations.location import LocationSettings, read_settings

ROOT = Path(__file__).parent.parent
EXAMPLES = (
    ".env.example",
    ".env.production.example",
    "docs/settings.md",
    "docs/storage-locations.md",
    "ops/deploy/POSTGRESQL_MIGRATION.md",
)


@pytest.fixture(autouse=True)
def no_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BACKUP_LOCATION")]:
        monkeypatch.delenv(name)


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def refusal() -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        read_locations()
    return str(caught.value)


def test_no_variable_gives_no_location() -> None:
    assert read_locations() == []


@pytest.mark.parametrize("names", ["nas disk", "NAS,disk", " nas , disk "])
def test_names_are_separated_by_spaces_or_commas(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    set_all(
        monkeypatch, BACKUP_LOCATIONS=names, BACKUP_LOCATION_NAS="sftp://ada@nas/b", BACKUP_LOCATION_DISK="/mnt/disk"
    )
    assert [(found.name, found.url) for found in read_settings(read_locations())] == [
        ("nas", "sftp://ada@nas/b"),
        ("disk", "/mnt/disk"),
    ]


def test_each_field_of_a_location_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, BACKUP_LOCATIONS="nas", BACKUP_LOCATION_NAS="/mnt/nas")
    set_all(monkeypatch, **{f"BACKUP_LOCATION_NAS_{word}": f"the {word}" for word in (*TEXTS, *SECRETS)})
    monkeypatch.setenv("BACKUP_LOCATION_NAS_ENDPOINT", "https://s3.example.net")
    set_all(monkeypatch, **{f"BACKUP_LOCATION_NAS_{word}": str(number) for number, word in enumerate(NUMBERS, start=1)})
    set_all(monkeypatch, BACKUP_LOCATION_NAS_ENCRYPTED="no", BACKUP_LOCATION_NAS_OFF_SITE="true")
    assert read_settings(read_locations()) == (
        LocationSettings(
            name="nas",
            url="/mnt/nas",
            host_key="the HOST_KEY",
            identity_file="the IDENTITY_FILE",
            endpoint="https://s3.example.net",
            region="the REGION",
            password="the PASSWORD",
            access_key="the ACCESS_KEY",
            secret_key="the SECRET_KEY",
            lock_days=1,
            retention_days=2,
            keep_daily=3,
            keep_weekly=4,
            keep_monthly=5,
            keep_yearly=6,
            encrypted=False,
            off_site=True,
        ),
    )
    words = {word.lower() for word in (*TEXTS, *SECRETS, *NUMBERS, *FLAGS)}
    assert words | {"name", "url"} == set(LocationSettings.__struct_fields__)


def test_variables_that_are_not_set_leave_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, BACKUP_LOCATIONS="nas", BACKUP_LOCATION_NAS="/mnt/nas", BACKUP_LOCATION_NAS_ENCRYPTED=" ")
    assert read_settings(read_locations()) == (LocationSettings(name="nas", url="/mnt/nas"),)


def test_secret_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    set_all(monkeypatch, BACKUP_LOCATIONS="nas", BACKUP_LOCATION_NAS="sftp://ada@nas/b")
    monkeypatch.setenv("BACKUP_LOCATION_NAS_PASSWORD_FILE", str(tmp_path / "password"))
    assert read_locations()[0]["password"] == "open sesame"


def test_name_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_LOCATIONS", "nas")
    assert refusal() == (
        "BACKUP_LOCATION_NAS is not set, but BACKUP_LOCATIONS names nas."
        " Example: BACKUP_LOCATION_NAS=sftp://user@nas.example.org/backups"
    )


@pytest.mark.parametrize("name", ["my-nas", "2", "näs", "sftp://nas/b"])
def test_name_that_is_not_the_end_of_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("BACKUP_LOCATIONS", name)
    assert refusal() == (
        f"BACKUP_LOCATIONS names {name!r}; allowed are letters, digits and _. Example: BACKUP_LOCATIONS=nas bucket"
    )


@pytest.mark.parametrize("name", ["LOCK_DAY", "ENCRYPT", "URL", "HOST_KEY_FILE"])
def test_variable_that_a_location_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_all(monkeypatch, BACKUP_LOCATIONS="nas", BACKUP_LOCATION_NAS="/mnt/nas")
    monkeypatch.setenv(f"BACKUP_LOCATION_NAS_{name}", "1")
    assert refusal().startswith(
        f"BACKUP_LOCATION_NAS_{name} is not a variable of a storage location. Known are …_ACCESS_KEY, "
    )


def test_variables_of_a_location_with_a_longer_name_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, BACKUP_LOCATIONS="nas nas_2", BACKUP_LOCATION_NAS="/a", BACKUP_LOCATION_NAS_2="/b")
    set_all(monkeypatch, BACKUP_LOCATION_NAS_2_ENCRYPTED="no", BACKUP_LOCATION_OLD_X="of a location that is not used")
    assert [(found["name"], found.get("encrypted")) for found in read_locations()] == [("nas", None), ("nas_2", False)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LOCK_DAYS", "-1", "is -1; the minimum is 0"),
        ("KEEP_DAILY", "many", "is 'many', which is not a whole number"),
        ("ENCRYPTED", "maybe", "is 'maybe', which is neither true nor false"),
    ],
)
def test_value_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    set_all(
        monkeypatch, BACKUP_LOCATIONS="nas", BACKUP_LOCATION_NAS="/mnt/nas", **{f"BACKUP_LOCATION_NAS_{name}": value}
    )
    assert refusal().startswith(f"BACKUP_LOCATION_NAS_{name} {message}. Example: BACKUP_LOCATION_NAS_{name}=")


# --- Documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [*TEXTS, *SECRETS, *NUMBERS, *FLAGS])
def test_variable_is_in_the_documents(word: str) -> None:
    assert re.search(rf"^\| `.*…_{word}`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("document", EXAMPLES)
def test_examples_in_the_documents_are_valid(monkeypatch: pytest.MonkeyPatch, document: str) -> None:
    text = (ROOT / document).read_text()
    found = re.findall(r"^(?:# | {4})?(BACKUP_LOCATION[A-Z_]*)=(.*)$", text, re.MULTILINE)
    assert len(found) > 5
    names = " ".join(value for name, value in found if name == "BACKUP_LOCATIONS")
    set_all(monkeypatch, **{name: value for name, value in found if not name.endswith("_FILE") or "IDENTITY" in name})
    monkeypatch.setenv("BACKUP_LOCATIONS", " ".join(dict.fromkeys(names.split())))
    assert {settings.type for settings in read_settings(read_locations())} == {"directory", "sftp", "s3"}

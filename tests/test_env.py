"""Reading the environment: a wrong value stops the start with the name of the variable and an example."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from homerack.config import databases, env
from tests.support import forked

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("word", "value"), [("TRUE", True), ("1", True), ("on", True), ("No", False), ("0", False)])
def test_bool_reads_word(monkeypatch, word, value):
    monkeypatch.setenv("FLAG", word)
    assert env.get_bool("FLAG", default=not value) is value


def test_keys_of_age_are_read_from_the_file_of_age_keygen(monkeypatch, tmp_path):
    (tmp_path / "age").write_text("# created: 2026-11-30\n# public key: age1x\nAGE-1\n")
    monkeypatch.setenv("AGE_FILE", str(tmp_path / "age"))
    monkeypatch.setenv("AGES", "AGE-1, AGE-2 AGE-3")
    assert env.get_keys("AGE") == ["AGE-1"]
    assert env.get_keys("AGES") == ["AGE-1", "AGE-2", "AGE-3"]


def test_empty_variable_gives_the_default(monkeypatch):
    monkeypatch.setenv("FLAG", " ")
    assert env.get_bool("FLAG", default=True) is True
    assert env.get_int("FLAG", default=7) == 7
    assert env.get_list("FLAG", ("a",)) == ["a"]


def test_bool_with_other_word_is_refused(monkeypatch):
    monkeypatch.setenv("FLAG", "maybe")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.get_bool("FLAG", default=False)
    assert str(caught.value) == "FLAG is 'maybe', which is neither true nor false. Example: FLAG=true"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "SIZE is 'many', which is not a whole number. Example: SIZE=5"),
        ("-1", "SIZE is -1; the minimum is 0. Example: SIZE=5"),
    ],
)
def test_int_with_wrong_value_is_refused_with_an_example(monkeypatch, text, message):
    monkeypatch.setenv("SIZE", text)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.get_int("SIZE", default=5)
    assert str(caught.value) == message


def test_unknown_choice_is_refused_with_the_choices(monkeypatch):
    monkeypatch.setenv("LEVEL", "loud")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.get_choice("LEVEL", default="INFO", choices=("INFO", "DEBUG"))
    assert str(caught.value) == "LEVEL is 'loud'; known values are INFO, DEBUG. Example: LEVEL=INFO"


def test_secret_is_read_from_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "key"))
    assert env.get_secret("KEY") == "s3cret"


def test_secrets_are_split_at_spaces_and_lines(monkeypatch, tmp_path):
    assert env.get_secrets("KEYS") == []
    monkeypatch.setenv("KEYS", " one  two ")
    assert env.get_secrets("KEYS") == ["one", "two"]
    monkeypatch.delenv("KEYS")
    (tmp_path / "keys").write_text("one\ntwo\n")
    monkeypatch.setenv("KEYS_FILE", str(tmp_path / "keys"))
    assert env.get_secrets("KEYS") == ["one", "two"]


def test_secret_in_two_places_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("KEY", "a")
    monkeypatch.setenv("KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ImproperlyConfigured) as caught:
        env.get_secret("KEY")
    assert str(caught.value) == "KEY_FILE and KEY are both set; remove one of them. Example: KEY_FILE=/run/secrets/key"


def test_unreadable_secret_file_is_refused_with_its_path(monkeypatch):
    monkeypatch.setenv("KEY_FILE", "/nowhere/key")
    with pytest.raises(ImproperlyConfigured, match=r"KEY_FILE names /nowhere/key, which cannot be read"):
        env.get_secret("KEY")


@pytest.mark.parametrize(
    "url",
    ["postgres://me:p@h:5432/lab", "postgresql://me:p@h:5432/lab", "postgresql+psycopg2://me:p@h:5432/lab"],
)
def test_postgres_url_of_django_or_sqlalchemy_is_read(url):
    database = databases.parse_url(url)
    assert (database["NAME"], database["USER"], database["HOST"], database["PORT"]) == ("lab", "me", "h", 5432)


def test_relative_sqlite_path_starts_at_the_project(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "sqlite:///./lab.db")
    assert databases.configure(base_dir=tmp_path)["NAME"] == str(tmp_path / "lab.db")


@pytest.mark.parametrize("url", ["postgres://me:p#ss@h/lab", "mysql://me:p#ss@h/lab", "nonsense p#ss", "postgres://h"])
def test_wrong_database_url_is_refused_without_its_password(monkeypatch, url):
    with pytest.raises(ImproperlyConfigured) as caught:
        databases.parse_url(url)
    assert str(caught.value).startswith("DATABASE_URL ")
    assert "p#ss" not in str(caught.value)


def start(tmp_path: Path, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py check` with these variables and no others of ours."""
    return forked.run(["manage.py", "check", *options], env=environment(tmp_path, **variables))


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    inherited = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "homerack.settings"}
    return {"DATABASE_URL": f"sqlite:///{tmp_path / 'lab.db'}", **inherited, **variables}


@pytest.mark.skipif((ROOT / ".env").exists(), reason="a .env of this checkout would answer instead")
def test_start_without_secret_key_is_refused(tmp_path):
    ended = start(tmp_path, DEBUG="false")
    assert ended.returncode == 1
    assert "SECRET_KEY is not set. Generate one with: python -c" in ended.stderr


def test_production_settings_pass_deployment_checks(tmp_path):
    key = "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOP"
    hosts = "homerack.example.org"
    settings = environment(
        tmp_path,
        DEBUG="false",
        SECRET_KEY=key,
        BACKUP_SIGNING_KEY=key[::-1],
        DATABASE_URL="sqlite://:memory:",
        ALLOWED_HOSTS=hosts,
    )
    command = [sys.executable, "-W", "error", "manage.py", "check", "--deploy"]
    ended = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "System check identified no issues (0 silenced).\n")


def test_production_without_hosts_fails_the_check(tmp_path):
    key = "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOP"
    ended = start(tmp_path, "--deploy", DEBUG="false", SECRET_KEY=key, DATABASE_URL="sqlite://:memory:")
    assert ended.returncode == 1
    assert "?: (homerack.E005) ALLOWED_HOSTS is not set: the site responds to localhost only." in ended.stderr


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/../x/", "'../x/'; allowed are letters, digits, - and _"),
        ("health", "'health/', which is reserved for other pages"),
    ],
)
def test_reserved_admin_path_is_refused(tmp_path, path, fault):
    ended = start(tmp_path, SECRET_KEY="x", ADMIN_PATH=path, HTTPS="false")
    assert f"ADMIN_PATH is {fault}. Example: ADMIN_PATH=admin/" in ended.stderr


def test_unknown_time_zone_is_refused(tmp_path):
    ended = start(tmp_path, SECRET_KEY="x", TIME_ZONE="Mars/Base", HTTPS="false")
    assert (
        "TIME_ZONE is 'Mars/Base', which is not the name of a time zone. Example: TIME_ZONE=Europe/Berlin"
        in ended.stderr
    )


def test_source_of_a_variable_is_the_environment_the_file_or_nothing(monkeypatch, tmp_path):
    """The file is read into the environment, which processes that this one starts inherit."""
    (tmp_path / ".env").write_text("IN_FILE=1\nIN_BOTH=1\n")
    monkeypatch.setattr(env.Dotenv, "ENVIRON", {})
    monkeypatch.setenv("IN_FILE", "")
    monkeypatch.delenv("IN_FILE")
    monkeypatch.setenv("IN_BOTH", "2")
    monkeypatch.setenv("SECRET_FILE", "/run/secrets/key")
    monkeypatch.setenv("BACKUP_UPLOAD_LIMIT_MB", "5")
    env.load_dotenv(tmp_path / ".env")
    names = ("IN_FILE", "IN_BOTH", "SECRET", "OPS_UPLOAD_LIMIT", "IN_NEITHER")
    assert env.sources(names, {"OPS_UPLOAD_LIMIT": "BACKUP_UPLOAD_LIMIT_MB"}) == {
        "IN_FILE": "file .env",
        "IN_BOTH": "environment",
        "SECRET": "file /run/secrets/key",
        "OPS_UPLOAD_LIMIT": "environment",
    }

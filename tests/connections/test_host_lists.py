"""URLs of several hosts: what is read from them, what is refused, and what of them is shown."""

from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg2.extensions import parse_dsn

from homerack.config import databases
from homerack.postgresql.client import DatabaseClient
from ops.databases.postgres import url
from ops.databases.postgres.connection import host_messages, parse_url
from ops.databases.postgres.refusal import NONE_WRITABLE, hint_for
from ops.errors import PreconditionFailed
from ops.utils.redaction import redact

SECRET = "s,e@c:r/e?t#%"
USER = f"lab:{quote(SECRET, safe='')}"
READ_WRITE = {"target_session_attrs": "read-write", "connect_timeout": 2}
FORMS: dict[str, tuple[str, str, str | int, dict[str, Any]]] = {
    f"postgres://{USER}@h1:5432,h2:5433,h3:5434/db": ("h1,h2,h3", "h1:5432,h2:5433,h3:5434", "5432,5433,5434", {}),
    f"postgresql://{USER}@h1:1,h2:2/db?target_session_attrs=primary": (
        "h1,h2",
        "h1:1,h2:2",
        "1,2",
        {"target_session_attrs": "primary"},
    ),
    f"postgres://{USER}@h1,h2/db?connect_timeout=7": ("h1,h2", "h1,h2", "", {"connect_timeout": 7}),
    f"postgres://{USER}@h1,h2/db?port=5433": ("h1,h2", "h1:5433,h2:5433", 5433, {}),
    f"postgres://{USER}@h1,h2/db?port=1,2": ("h1,h2", "h1:1,h2:2", "1,2", {}),
    # psql takes 5432 for the first host whatever the port of the second is.
    f"postgres://{USER}@h1,h2:5432/db": ("h1,h2", "h1:5432,h2:5432", "5432,5432", {}),
    f"postgres://{USER}@[::1]:5432,[fe80::1%25eth0]:5433/db": (
        "::1,fe80::1%eth0",
        "[::1]:5432,[fe80::1%eth0]:5433",
        "5432,5433",
        {},
    ),
    f"postgres://{USER}@%2FRun%2Fa,%2FRun%2Fb/db": ("/Run/a,/Run/b", "/Run/a,/Run/b", "", {}),
    f"postgres://{USER}@h1%2Ch2/db": ("h1,h2", "h1,h2", "", {}),
    f"postgres://{USER}@/db?host=/run/a,h2&port=5432": ("/run/a,h2", "/run/a:5432,h2:5432", 5432, {}),
    f"postgres:///?dbname=db&user=lab&password={quote(SECRET, safe='')}&host=h1,h2": ("h1,h2", "h1,h2", "", {}),
    f"postgres://{USER}@h1,h2/db?hostaddr=192.0.2.1,192.0.2.2": (
        "h1,h2",
        "h1,h2",
        "",
        {"hostaddr": "192.0.2.1,192.0.2.2"},
    ),
    f"postgres://{USER}@/db?hostaddr=192.0.2.1,192.0.2.2": (
        "",
        "192.0.2.1,192.0.2.2",
        "",
        {"hostaddr": "192.0.2.1,192.0.2.2"},
    ),
}
"""By URL: HOST, the text for people, PORT, and options that differ from READ_WRITE."""
ONE_HOST: dict[str, tuple[str, str, str | int]] = {
    f"postgres://{USER}@/db": ("", "the local socket", ""),
    f"postgres://{USER}@:5433/db?host=/run/pg": ("/run/pg", "/run/pg:5433", 5433),
    f"postgres://{USER}@%2Frun%2Fpg/db": ("/run/pg", "/run/pg", ""),
    f"postgres://{USER}@[::1]/db": ("::1", "[::1]", ""),
    f"postgres://{USER}@db.lan:5432/db": ("db.lan", "db.lan:5432", 5432),
}


@pytest.mark.parametrize("address", FORMS)
def test_url_of_several_hosts_is_read(address: str) -> None:
    host, shown, port, options = FORMS[address]
    found = databases.parse_url(address)
    assert (found["HOST"], found["PORT"], found["NAME"], found["USER"]) == (host, port, "db", "lab")
    assert found["PASSWORD"] == SECRET
    assert found["OPTIONS"] == READ_WRITE | options
    assert str(parse_url(address)) == f"db on {shown}"
    assert SECRET not in repr(parse_url(address))


@pytest.mark.parametrize("address", ONE_HOST)
def test_url_of_one_host_is_read(address: str) -> None:
    host, shown, port = ONE_HOST[address]
    found = databases.parse_url(address)
    assert (found["HOST"], found["PORT"], found["PASSWORD"], found["OPTIONS"]) == (host, port, SECRET, {})
    assert str(parse_url(address)) == f"db on {shown}"


@pytest.mark.parametrize("address", [*FORMS, *ONE_HOST])
def test_libpq_reads_the_url_in_the_same_way(address: str) -> None:
    """But for the port that it adds, and for the default of several hosts."""
    theirs = parse_dsn(address)
    ours = parse_url(address)
    assert theirs["password"] == ours.password
    assert theirs.get("host", "") == ours.host
    ports = {port for port in theirs.get("port", "").split(",") if port}
    assert ports <= set(ours.port.split(","))
    assert theirs.get("hostaddr") == ours.options.get("hostaddr")


REFUSED = {
    "h1:5432,h2:5432/db?port=1,2,3": "names 2 hosts and 3 ports; write a port after each host (db1:5433,db2:5433), or"
    " one for all as an option (?port=5433)",
    "h1,h2:5433/db": "names 2 hosts and 1 port; write a port after each host (db1:5433,db2:5433), or one for all as an"
    " option (?port=5433)",
    "h1:5433,h2:5433,h3/db": "names 3 hosts and 2 ports; write a port after each host (db1:5433,db2:5433), or one for"
    " all as an option (?port=5433)",
    "h1:0,h2:1/db": f"has a port that is not a number from 1 to 65535; {url.ESCAPES}",
    "h1:65536/db": f"has a port that is not a number from 1 to 65535; {url.ESCAPES}",
    "h1:x,h2:1/db": f"has a port that is not a number from 1 to 65535; {url.ESCAPES}",
    "h1,,h3/db": f"names an empty host among several; write each one, as in {url.SEVERAL_HOSTS}",
    "h1,/db": f"names an empty host among several; write each one, as in {url.SEVERAL_HOSTS}",
    "::1/db": "has an IPv6 address without brackets; write [::1]:5432",
    "[::1,h2/db": url.UNREADABLE,
    "h1,h2/db?hostaddr=192.0.2.1": "names 2 hosts, and in hostaddr 1; write one address for each host",
    "h1,h2": "names no database",
    "h1,h2/": "names no database",
    "h1,h2/db?target_session_attrs=rw": "has target_session_attrs=rw, which libpq does not know; write"
    " target_session_attrs=read-write",
    "h1,h2/db#x": url.UNREADABLE,
    "h1,h2/d%00b": url.UNREADABLE,
    **{
        f"h1,h2/db?target_session_attrs={target}": f"has target_session_attrs={target}, which may lead to a server that"
        " takes no writes; write target_session_attrs=read-write"
        for target in ("any", "read-only", "standby", "prefer-standby")
    },
    **{
        f"h1/db?target_session_attrs={target}": f"has target_session_attrs={target}, which may lead to a server that"
        " takes no writes; write target_session_attrs=read-write"
        for target in ("read-only", "standby", "prefer-standby")
    },
}
"""What is wrong with the URL, by its part after the password."""


@pytest.mark.parametrize("rest", REFUSED)
@pytest.mark.parametrize("variable", ["DATABASE_URL", "DATABASE_DIRECT_URL"])
def test_wrong_url_is_refused_with_what_to_write(rest: str, variable: str) -> None:
    address = f"postgres://{USER}@{rest}"
    with pytest.raises(ImproperlyConfigured) as refused:
        databases.parse_url(address, variable=variable)
    assert str(refused.value) == f"{variable} {REFUSED[rest]}. Example: {variable}={databases.EXAMPLE}"
    with pytest.raises(PreconditionFailed) as failed:
        parse_url(address)
    assert str(failed.value) == f"The PostgreSQL URL {REFUSED[rest]}.\nExample: {url.EXAMPLE}"
    assert quote(SECRET, safe="") not in f"{refused.value}{failed.value}"


@pytest.mark.parametrize("character", "#/?@:%,[]")
@pytest.mark.parametrize("hosts", ["h1", "h1:5432,h2:5432", "[::1]:5432,[::2]:5432"])
def test_password_that_is_not_encoded_is_read_or_refused_without_a_part_of_it(character: str, hosts: str) -> None:
    password = f"hush{character}quiet"
    message, found = "", {}
    try:
        found = databases.parse_url(f"postgres://lab:{password}@{hosts}/db")
    except ImproperlyConfigured as refused:
        message = str(refused)
    assert "hush" not in message
    assert "quiet" not in message
    if message:
        assert url.ESCAPES in message
    else:
        assert (found["PASSWORD"], found["NAME"]) == (password, "db")


@pytest.mark.parametrize("address", [*FORMS, *ONE_HOST])
def test_password_of_the_target_of_a_migration_is_removed_from_messages(settings: Any, address: str) -> None:
    settings.POSTGRES_URL = address
    assert redact(f"refused {SECRET}, {quote(SECRET, safe='')}") == "refused …, …"


def test_psql_gets_the_hosts_and_the_target() -> None:
    found = databases.parse_url(f"postgres://{USER}@h1:1,h2:2/db")
    arguments, environment = DatabaseClient.settings_to_cmd_args_env(found, [])
    assert arguments == ["psql", "-U", "lab", "-h", "h1,h2", "-p", "1,2", "db"]
    assert environment == {
        "PGPASSWORD": SECRET,
        "PGTARGETSESSIONATTRS": "read-write",
        "PGCONNECT_TIMEOUT": "2",
    }


def test_error_names_what_each_host_answered() -> None:
    error = psycopg2.OperationalError(
        'connection to server at "h1" (192.0.2.1), port 1 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
        'connection to server at "::1", port 2 failed: FATAL:  the database system is starting up\n'
        "DETAIL:  Recovery snapshot is not yet ready for hot standby.\n"
        'connection to server on socket "/run/.s.PGSQL.3" failed: session is read-only\n'
        'could not translate host name "h4" to address: Name or service not known\n'
    )
    messages = host_messages(error)
    assert messages == [
        "h1:1: Connection refused",
        "[::1]:2: the database system is starting up",
        "/run/.s.PGSQL.3: session is read-only",
        'could not translate host name "h4" to address: Name or service not known',
    ]
    assert hint_for("", "; ".join(messages)) == NONE_WRITABLE

"""Reads the address of a PostgreSQL database, with one host or several, as libpq and psql read it.

Settings of Django need this before Django is set up, so this module imports nothing of it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, unquote_plus

SCHEMES = frozenset({"postgres", "postgresql", "pgsql"})
EXAMPLE = "postgres://user:password@127.0.0.1:5432/mydatabase"
SEVERAL_HOSTS = "postgres://user:password@db1:5432,db2:5432,db3:5432/mydatabase?target_session_attrs=read-write"
DEFAULT_PORT = "5432"
READ_WRITE, PRIMARY, ANY = "read-write", "primary", "any"
READ_ONLY_TARGETS = frozenset({"read-only", "standby", "prefer-standby"})
OF_SEVERAL_HOSTS = {"target_session_attrs": READ_WRITE, "connect_timeout": 2}
"""Options where the URL names several hosts and does not set them. The timeout in seconds is for each host: one that
does not answer delays each new connection by it. Before version 17, libpq knows no shorter one."""
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""Options that find a machine that is gone, or a network; seconds, the last one milliseconds. libpq's own defaults let
a connection wait for hours. The kernel of a frozen server answers, except for data that the server does not take."""
PARTS = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
"""Parts of the address that may be options as well; an option replaces the part before it."""
HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[^:]*))?")


class InvalidUrl(ValueError):
    """What is wrong with the URL, as the end of a sentence: ``names no database``. Never contains its password."""


ESCAPES = "write # / ? @ : % in a password as %23 %2F %3F %40 %3A %25"
UNREADABLE = f"cannot be parsed; {ESCAPES}"


def parse(url: str) -> dict[str, Any]:
    """NAME, HOST, PORT, USER, PASSWORD and OPTIONS of Django's DATABASES.

    Several hosts and ports are lists with commas. PORT is a number where there is only one. Raises InvalidUrl.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in SCHEMES:
        raise InvalidUrl("has to start with postgres://")
    authority, path, query = split(rest)
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    names, ports = split_hosts(hosts)
    options = read_options(query)
    found = {
        "NAME": unquote(path.removeprefix("/")),
        "USER": unquote(user),
        "PASSWORD": unquote(password),
        "HOST": ",".join(names),
        "PORT": ",".join(ports) if any(ports) else "",
    }
    found |= {part: str(options.pop(name)) for name, part in PARTS.items() if name in options}
    if not found["NAME"]:
        raise InvalidUrl("names no database")
    return {**found, **check_hosts(found["HOST"], found["PORT"], options)}


def split(rest: str) -> tuple[str, str, str]:
    """User, password and hosts; the path; the options. Where a password has a # / or ?, the @ after it shows that."""
    head, _, query = rest.partition("?")
    authority, slash, path = head.partition("/")
    if "#" in rest or "%00" in rest or "@" in path or ("@" in query and "@" not in authority):
        raise InvalidUrl(UNREADABLE)
    return authority, slash + path, query


def split_hosts(text: str) -> tuple[Sequence[str], Sequence[str]]:
    """Hosts and ports, each '' where it is left out."""
    hosts, ports = [], []
    for item in text.split(","):
        found = HOST_AND_PORT.fullmatch(item)
        if not found:
            ipv6 = item.count(":") > 1 and not set(item) & set("[]")
            raise InvalidUrl("has an IPv6 address without brackets; write [::1]:5432" if ipv6 else UNREADABLE)
        hosts.append(unquote(found["ipv6"] or found["name"]))
        ports.append(found["port"] or "")
    return hosts, ports


def read_options(query: str) -> dict[str, Any]:
    """The options after the question mark. Of one that is repeated, libpq uses the last."""
    pairs = [item.partition("=") for item in query.split("&")]
    options = {
        unquote(name): unquote(value) if name in PARTS else option_value(unquote_plus(value))
        for name, _, value in pairs
        if value
    }
    if schema := options.pop("currentSchema", None):
        options["options"] = f"-c search_path={schema}"
    return options


def option_value(text: str) -> str | int | bool:
    if text.isdecimal():
        return int(text)
    return text.lower() == "true" if text.lower() in {"true", "false"} else text


def check_hosts(host: str, port: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """HOST, PORT and OPTIONS, with what several hosts need."""
    hosts, addresses = host.split(","), str(options.get("hostaddr", "")).split(",")
    number = max(len(hosts), len(addresses))
    if number > 1 and not all(hosts) and not all(addresses):
        raise InvalidUrl(f"names an empty host among several; write each one, as in {SEVERAL_HOSTS}")
    if any(hosts) and any(addresses) and len(hosts) != len(addresses):
        raise InvalidUrl(f"names {len(hosts)} hosts, and in hostaddr {len(addresses)}; write one address for each host")
    attributes = check_target(str(options.get("target_session_attrs", "")), number)
    return {
        "HOST": host,
        "PORT": check_ports(port, number),
        "OPTIONS": {**(OF_SEVERAL_HOSTS if number > 1 else {}), **options, **attributes},
    }


def check_ports(text: str, hosts: int) -> str | int:
    """One for all hosts, or one for each. psql takes 5432 for those that are left out, whatever the others are."""
    ports = text.split(",")
    named = [port for port in ports if port]
    if any(not port.isdecimal() or not 0 < int(port) < 2**16 for port in named):
        # It may be a part of the password.
        raise InvalidUrl(f"has a port that is not a number from 1 to 65535; {ESCAPES}")
    if len(ports) in (1, hosts) and len(named) in (0, len(ports)):
        return int(text) if len(named) == 1 else text
    if len(ports) == hosts and set(named) == {DEFAULT_PORT}:
        return ",".join([DEFAULT_PORT] * hosts)
    raise InvalidUrl(
        f"names {hosts} host{'s' if hosts > 1 else ''} and {len(named)} port{'s' if len(named) > 1 else ''}; write a"
        " port after each host (db1:5433,db2:5433), or one for all as an option (?port=5433)"
    )


def check_target(target: str, hosts: int) -> dict[str, str]:
    """The option, '' left out. Raises InvalidUrl for servers that may take no writes."""
    if target in READ_ONLY_TARGETS or (target == ANY and hosts > 1):
        raise InvalidUrl(
            f"has target_session_attrs={target}, which may lead to a server that takes no writes; write"
            f" target_session_attrs={READ_WRITE}"
        )
    if target not in {"", ANY, READ_WRITE, PRIMARY}:
        raise InvalidUrl(
            f"has target_session_attrs={target}, which libpq does not know; write target_session_attrs={READ_WRITE}"
        )
    return {"target_session_attrs": target} if target else {}


def describe_hosts(host: str, port: str) -> str:
    """For messages: ``db1:5432,db2:5432``; IPv6 in brackets, and ``the local socket`` where no host is named."""
    named = (
        (f"[{name}]" if ":" in name else name or "the local socket", number) for name, number in pair_hosts(host, port)
    )
    return ",".join(f"{name}{f':{number}' if number else ''}" for name, number in named)


def pair_hosts(host: str, port: str) -> list[tuple[str, str]]:
    """Each host of a list with its port, which may be one for all."""
    hosts, ports = host.split(","), port.split(",")
    return list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False))

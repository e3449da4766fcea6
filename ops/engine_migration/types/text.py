"""Text, and what SQLite stores as text or bytes: UUIDs, addresses, binary data."""

import dataclasses
import ipaddress
import re

from ops.engine_migration.types.base import NEVER, ChunkCheck, ColumnType, Limit, Refused, Stored, refuse_type


def convert_text(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "text")
    if "\x00" in value:
        raise Refused("a NUL character, which PostgreSQL cannot store in text")
    return value


def text(limit: int | None) -> ColumnType:
    def convert(value: Stored) -> str:
        if isinstance(value, str) and limit is not None and len(value) > limit:
            raise Refused(f"{len(value)} characters; the limit is {limit}")
        return convert_text(value)

    within = "" if limit is None else f" AND length({{c}}) <= {limit}"
    return ColumnType(
        canonical_check=f"typeof({{c}}) = 'text'{within}",
        target_text="{c}",
        convert=convert,
        text=True,
        stored="{c}",
    )


def stripped(base: ColumnType) -> ColumnType:
    """The text type `base` with ``--strip-nul``: NUL characters are removed first."""

    def convert(value: Stored) -> str:
        return base.convert(value.replace("\x00", "") if isinstance(value, str) else value)

    check = f"{base.canonical_check} AND instr({{c}}, char(0)) = 0"
    return dataclasses.replace(base, canonical_check=check, convert=convert)


def convert_uuid(value: Stored) -> str:
    if isinstance(value, str) and re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", value, re.ASCII | re.IGNORECASE
    ):
        return value.replace("-", "").lower()
    raise Refused("not a UUID")


def convert_address(value: Stored) -> str:
    if not isinstance(value, str):
        raise refuse_type(value, "an IP address")
    try:
        # Refuses leading zeros, which some read as octal and PostgreSQL drops.
        address = ipaddress.ip_address(value)
    except ValueError:
        raise Refused("not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise Refused("an IP address with a zone, which PostgreSQL cannot store")
    return format_address(address)


def format_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As PostgreSQL prints it: the last 32 bits with dots after ``::`` and after ``::ffff:`` (inet_net_ntop.c)."""
    prefix, low = divmod(int(address), 2**32)
    if address.version == 6 and (prefix == 0xFFFF or (prefix == 0 and low >= 2**16)):
        return f"::{'ffff:' if prefix else ''}{ipaddress.IPv4Address(low)}"
    return str(address)


def convert_binary(value: Stored) -> str:
    raise refuse_type(value, "binary data")


HEXADECIMAL = "0123456789abcdef"


def are_hexadecimal(lines: str, number: int) -> bool:
    return lines.count("\n") == number - 1 and not lines.encode().translate(None, f"{HEXADECIMAL}\n".encode())


UUID = ColumnType(
    # Faster than GLOB, which also does not see what comes after a NUL.
    canonical_check="typeof({c}) = 'text' AND length({c}) = 32"
    f" AND strip(CAST({{c}} AS BLOB), CAST('{HEXADECIMAL}' AS BLOB)) = x''",
    chunk_check=ChunkCheck(condition="typeof({c}) = 'text' AND length({c}) = 32", accepts=are_hexadecimal),
    copy_format="%s",
    target_text="encode(uuid_send({c}), 'hex')",
    convert=convert_uuid,
    native_order=True,
    stored="replace({c}::text, '-', '')",
)
ADDRESS = ColumnType(
    canonical_check=NEVER,
    stored_canonical=False,
    target_text="host({c})",
    convert=convert_address,
    # PostgreSQL writes the last 32 bits of addresses below ::1:0:0 with dots, and Django does not.
    stored="CASE WHEN {c} > '::1:0' AND {c} < '::1:0:0' THEN '::' || to_hex(({c} - '::') >> 16) || ':'"
    " || to_hex(({c} - '::') & 65535) ELSE host({c}) END",
    limits=(
        Limit(
            excess="masklen({c}) < CASE family({c}) WHEN 4 THEN 32 ELSE 128 END",
            reason="an address with a netmask, which Django does not store in SQLite",
        ),
    ),
)
BINARY = ColumnType(
    canonical_check="typeof({c}) = 'blob'",
    copy_text="'\\x' || hex({c})",
    source_text="lower(hex({c}))",
    target_text="encode({c}, 'hex')",
    convert=convert_binary,
    stored="{c}",
)

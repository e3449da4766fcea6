"""The kind of a device, which the device types of NetBox do not name: guessed from clear facts, or else *Other*."""

import re
from collections import Counter
from collections.abc import Mapping

OTHER = "Other"
MIN_SWITCH_SOCKETS = 16
"""So many network sockets have switches, and few other devices."""
MAX_ACCESS_POINT_SOCKETS = 2
"""Devices with a radio and more network sockets are routers of homes and small offices."""
MIN_CONSOLE_SOCKETS = 4
"""So many sockets for consoles of other devices have console servers and KVM switches."""

FEEDS_OTHERS = (
    ("UPS", re.compile(r"\b(\w*ups|uninterruptible|battery)\b", re.IGNORECASE)),
    ("PDU", re.compile(r"pdu|power distribution|\bpower strip|\bats\b|transfer switch", re.IGNORECASE)),
)
"""Kinds of devices with power outlets, and the words that name them."""

KINDS = (
    ("Firewall", re.compile(r"firewall", re.IGNORECASE)),
    ("Patch panel", re.compile(r"patch[- ]?panel|fiber (enclosure|drawer)|splice enclosure", re.IGNORECASE)),
    ("Access point", re.compile(r"access point|\bap\b|aironet", re.IGNORECASE)),
    ("Switch", re.compile(r"(?<!kvm )switch|catalyst|nexus", re.IGNORECASE)),
    ("Router", re.compile(r"routers?\b|security gateway|dream machine", re.IGNORECASE)),
    ("Server", re.compile(r"(?<!console )server\b|poweredge|proliant|thinksystem|primergy|vxrail", re.IGNORECASE)),
    ("Storage", re.compile(r"\bnas\b|storage (array|system)|powervault|(disk|rack|flash)station", re.IGNORECASE)),
)
"""Kinds of other devices; the first with one of its words counts. Some words are those of product lines."""

PRODUCT_LINES = (
    ("UPS", r"apc (back-|smart-)ups|apc (bn|br|bx|sm[tx]|sr[tv])\d|eaton [59]px|cyberpower (or|cp|pr|ol)\d"),
    ("PDU", r"cyberpower cps|raritan px|eaton ema"),
    ("Firewall", r"cisco (asa|firepower|fpr)|deciso dec|zyxel (usg|atp)|fortinet forti(gate|wifi)|netgate "),
    ("Storage", r"synology [dfr][sx]\d|qnap t[sv]s?-|netapp (fas|aff|e\d)|dell (unity|dr\d)"),
    ("Router", r"cisco (asr|isr|c?[178]\d\d|c?72\d\d|ubr|vedge)|mikrotik (ccr|rb(?!260)\d|hex)|tp-link (er|td-)"),
    ("Switch", r"mikrotik (c[rs]s|rb260)|d-link d[egx]s-|netgear (gs|xs|fs|m4)|tp-link (tl-s|t\d{4}g)|trendnet teg-"),
    ("Switch", r"mellanox m?s[nx]|zyxel x?gs\d|arista dcs-|juniper (ex|qfx)\d"),
    ("Access point", r"ubiquiti (nano|pico|lite|power|air|bullet|rocket|ac )"),
    ("Server", r"supermicro (as|sys|ssg)-|lenovo system x|raspberry pi|cisco (ucs-?[bcsx]|apic)"),
)
"""Kinds of product lines, whose names say nothing to others: how the brand and the name of the model begin."""
BEGINNINGS = tuple((kind, re.compile(rf"(?:{names})", re.IGNORECASE)) for kind, names in PRODUCT_LINES)
POWER_LINES = tuple(line for line in BEGINNINGS if line[0] in {"UPS", "PDU"})

RADIO = re.compile(r"ieee802\.11")
OTHER_RADIO = re.compile(r"ieee802\.15|lte|gsm|cdma|5g$")
UPLINK = re.compile(r"xdsl|docsis|lte|gpon")
"""Sockets for the network of a provider. Devices with many are that provider's."""

ADDRESS = re.compile(r"https?://\S*")


def guess_type(
    *, manufacturer: str, model: str, description: str, sockets: Mapping[str, Counter[str]], height_u: float | None
) -> str:
    """The name of the kind. `sockets` are those of each list of ports, by type.

    Words count in the name and in the first line of the description: further down, other devices are named too.
    """
    first_line = next(iter(description.splitlines()), "")
    words = f"{model}\n{ADDRESS.sub('', first_line)}"
    product = f"{manufacturer} {model.removeprefix(manufacturer).strip()}"
    if sockets["power-outlets"]:
        named = first_kind(FEEDS_OTHERS, words) or first_kind(POWER_LINES, product, begins=True)
        return named or ("PDU" if height_u == 0 else OTHER)
    if sockets["front-ports"] and not sockets["power-ports"] and not sockets["interfaces"]:
        return "Patch panel"
    if named := first_kind(KINDS, words) or first_kind(BEGINNINGS, product, begins=True):
        return named
    serves_consoles = sockets["console-server-ports"].total() >= MIN_CONSOLE_SOCKETS
    return "Console server" if serves_consoles else kind_of_network(sockets["interfaces"])


def kind_of_network(sockets: Counter[str]) -> str:
    """What the network sockets of a device say by their number and their types."""
    radios = count(sockets, RADIO)
    wired = sockets.total() - radios
    if count(sockets, UPLINK) == 1:
        return "Router"
    if radios and not count(sockets, OTHER_RADIO):
        return "Access point" if wired <= MAX_ACCESS_POINT_SOCKETS else "Router"
    return "Switch" if wired >= MIN_SWITCH_SOCKETS else OTHER


def count(sockets: Counter[str], types: re.Pattern[str]) -> int:
    return sum(number for kind, number in sockets.items() if types.match(kind))


def first_kind(kinds: tuple[tuple[str, re.Pattern[str]], ...], text: str, *, begins: bool = False) -> str:
    """The first kind with one of its words in `text`, or at the beginning of it; empty if there is none."""
    return next((kind for kind, pattern in kinds if (pattern.match if begins else pattern.search)(text)), "")

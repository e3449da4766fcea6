"""The kind of a device, which the device types of NetBox do not name: guessed from clear facts, or else *Other*."""

import re
from collections import Counter
from collections.abc import Mapping

OTHER = "Other"
MIN_SWITCH_SOCKETS = 16
"""So many network sockets have switches, and few other devices."""

FEEDS_OTHERS = (
    ("UPS", re.compile(r"\b(\w*ups|uninterruptible|battery)\b", re.IGNORECASE)),
    ("PDU", re.compile(r"pdu|power distribution|\bpower strip", re.IGNORECASE)),
)
"""Kinds of devices with power outlets, and the words that name them."""

KINDS = (
    ("Firewall", re.compile(r"firewall", re.IGNORECASE)),
    ("Patch panel", re.compile(r"patch[- ]?panel", re.IGNORECASE)),
    ("Access point", re.compile(r"access point|\bap\b|aironet", re.IGNORECASE)),
    ("Switch", re.compile(r"switch|catalyst|nexus", re.IGNORECASE)),
    ("Router", re.compile(r"routers?\b", re.IGNORECASE)),
    ("Server", re.compile(r"(?<!console )server\b|poweredge|proliant|thinksystem|primergy", re.IGNORECASE)),
    ("Storage", re.compile(r"\bnas\b|storage (array|system)|powervault|(disk|rack|flash)station", re.IGNORECASE)),
)
"""Kinds of other devices; the first with one of its words counts. Some words are those of product lines."""

ADDRESS = re.compile(r"https?://\S*")


def guess_type(*, model: str, description: str, sockets: Mapping[str, Counter[str]], height_u: float | None) -> str:
    """The name of the kind. `sockets` are those of each list of ports, by type.

    Words count in the name and in the first line of the description: further down, other devices are named too.
    """
    first_line = next(iter(description.splitlines()), "")
    words = f"{model}\n{ADDRESS.sub('', first_line)}"
    if sockets["power-outlets"]:
        return first_kind(FEEDS_OTHERS, words) or ("PDU" if height_u == 0 else OTHER)
    if sockets["front-ports"] and not sockets["power-ports"] and not sockets["interfaces"]:
        return "Patch panel"
    is_large = sockets["interfaces"].total() >= MIN_SWITCH_SOCKETS
    return first_kind(KINDS, words) or ("Switch" if is_large else OTHER)


def first_kind(kinds: tuple[tuple[str, re.Pattern[str]], ...], words: str) -> str:
    """The first kind with one of its words in `words`; empty if there is none."""
    return next((kind for kind, pattern in kinds if pattern.search(words)), "")

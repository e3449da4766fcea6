"""Untrusted text for a terminal, an error or a log.

Notes, e-mail addresses, names of tables and files, and messages of other programs may contain characters that a
terminal interprets instead of showing: they move the cursor, change the window's title, or reverse the text.
"""

import json
import logging
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CONTROLS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f"  # C0 without tab and newline
    "\x7f-\x9f"  # DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # these change the direction of text
    "\u2028\u2029"  # line and paragraph separator
    "\ud800-\udfff"  # bytes of a file name that are not UTF-8: some terminals take them for C1
    "]"
)


def printable(text: str) -> str:
    """`text` with every control character but tab and newline replaced by U+FFFD, one for one."""
    return CONTROLS.sub(REPLACEMENT, text)


def json_text(document: Any) -> str:
    r"""`document` as indented JSON and a newline. Control characters are written as ``\u001b``, so nothing is lost."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    # The only control character outside a string is the newline, which is none of those.
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


class PrintableFormatter(logging.Formatter):
    """Logs lines, with their tracebacks, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))

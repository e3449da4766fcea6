"""Cables as comma-separated values, row by row."""

import csv
from collections.abc import Iterable, Iterator

from homerack.inventory.models import Cable

HEADER = ("From device", "From port", "To device", "To port", "Type", "Length (m)", "Routing")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""The first characters of cells that spreadsheets interpret as formulas: https://owasp.org/www-community/attacks/CSV_Injection."""


class EchoFile:
    """A file whose `write` returns the text, for csv.writer."""

    def write(self, text: str) -> str:
        return text


def render(cables: Iterable[Cable]) -> Iterator[str]:
    """The lines of the file, beginning with the header."""
    writer = csv.writer(EchoFile())
    yield writer.writerow(HEADER)
    for cable in cables:
        yield writer.writerow(row_of(cable))


def row_of(cable: Cable) -> list[str]:
    length = cable.calculated_length_m
    return [
        escape_formula(cable.from_device.custom_name),
        escape_formula(cable.from_port),
        escape_formula(cable.to_device.custom_name),
        escape_formula(cable.to_port),
        escape_formula(cable.get_cable_type_display()),
        "" if length is None else repr(length),
        escape_formula(cable.get_routing_path_display()),
    ]


def escape_formula(text: str | None) -> str:
    """`text`, with an apostrophe before it where a spreadsheet would run it as a formula."""
    return f"'{text}" if text and text.lstrip(" ").startswith(FORMULA_STARTS) else text or ""

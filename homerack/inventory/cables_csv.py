"""Cables as comma-separated values, row by row."""

import csv
from collections.abc import Iterable, Iterator

from homerack.inventory.models import Cable

HEADER = ("From device", "From port", "To device", "To port", "Type", "Length (m)", "Routing", "Category needed")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a spreadsheet take a cell for a formula: https://owasp.org/www-community/attacks/CSV_Injection."""


class Line:
    """A file whose `write` gives back what it was given, for csv.writer."""

    def write(self, text: str) -> str:
        return text


def render(cables: Iterable[Cable]) -> Iterator[str]:
    """The lines of the file, its header first."""
    writer = csv.writer(Line())
    yield writer.writerow(HEADER)
    for cable in cables:
        yield writer.writerow(row_of(cable))


def row_of(cable: Cable) -> list[str]:
    length = cable.calculated_length_m
    return [
        plain(cable.from_device.custom_name),
        plain(cable.from_port),
        plain(cable.to_device.custom_name),
        plain(cable.to_port),
        plain(cable.get_cable_type_display()),
        "" if length is None else repr(length),
        plain(cable.get_routing_path_display()),
        plain(cable.cable_category_required),
    ]


def plain(text: str | None) -> str:
    """`text` with an apostrophe before it where a spreadsheet would run it as a formula."""
    return f"'{text}" if text and text.lstrip(" ").startswith(FORMULA_STARTS) else text or ""

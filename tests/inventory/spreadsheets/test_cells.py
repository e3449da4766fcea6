"""What a value looks like in a file, and what comes back of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homerack.inventory.spreadsheets.cells import escape, needs_apostrophe, unescape

NASTY = st.text(alphabet=st.sampled_from("'=+-@\t\r\n a0＝\"é😀"), max_size=6)


@given(NASTY | st.text())
def test_an_escaped_text_is_no_formula_and_comes_back(text: str) -> None:
    escaped = escape(text)
    assert not escaped.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert unescape(escaped) == text
    assert unescape(f"'{text}" if needs_apostrophe(text) else text) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (" =1", "' =1"),
        ("'=1", "''=1"),
        ("'quoted'", "'quoted'"),
        ("Gi0/1", "Gi0/1"),
        ("", ""),
    ],
)
def test_cells_are_never_formulas(text: str, cell: str) -> None:
    assert escape(text) == cell

"""The document shows the figures of docs/high-availability.json."""

from tests.cluster import report
from tests.cluster.faults import FAULTS


def test_document_agrees_with_the_figures() -> None:
    text = report.DOCUMENT.read_text()
    assert report.table(report.read()) in text
    assert report.rewritten(text, report.read()) == text


def test_figures_are_of_known_faults() -> None:
    assert set(report.read()) <= set(FAULTS)

"""Names at the end of a test run what it left out: slow tests, deployment tests, and skipped tests with the reason."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

TARGETS = {"slow": "make test-slow", "deploy": "make test-deploy"}
COUNTS = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        marker = next((name for name in reversed(TARGETS) if item.get_closest_marker(name)), None)
        if marker and f"not {marker}" in item.config.option.markexpr:
            item.config.stash[COUNTS][marker] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[COUNTS])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker collects all tests, so the counts of any of them are those of the run."""
    node.config.stash[COUNTS] |= Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = [
        f"{count} {marker} tests: {TARGETS[marker]}" for marker, count in sorted(config.stash[COUNTS].items()) if count
    ]
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    lines += [f"{count} skipped: {reason}" for reason, count in sorted(skipped.items())]
    if lines:
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.line(line)

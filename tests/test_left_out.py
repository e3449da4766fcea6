"""`tests.support.left_out` names what a run of the tests left out, with and without workers."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
TESTS = """
import pytest

@pytest.mark.slow
def test_slow(): ...

@pytest.mark.slow
@pytest.mark.deploy
def test_deployment(): ...

@pytest.mark.deploy
def test_other_deployment(): ...

@pytest.mark.skip(reason="apt-get install pgbouncer")
def test_skipped(): ...

def test_run(): ...
"""
MARKERS = "[pytest]\nmarkers =\n    slow\n    deploy\n"


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> pytest.RunResult:
    """pytest, with this plugin and with as few others as it needs."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester.runpytest_subprocess("-p", "xdist", "-p", "tests.support.left_out", *arguments)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "with workers"])
def test_summary_names_slow_deploy_and_skipped_tests_when_they_are_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    pytester.makeini(MARKERS)
    pytester.makepyfile(TESTS)
    result = run(pytester, monkeypatch, "-m", "not slow and not deploy", *workers)
    result.assert_outcomes(passed=1, skipped=1, deselected=0 if workers else 3)
    result.stdout.fnmatch_lines(
        [
            "*left out*",
            "2 deploy tests: make test-deploy",
            "1 slow tests: make test-slow",
            "1 skipped: apt-get install pgbouncer",
        ]
    )


def test_summary_has_no_section_when_nothing_is_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_run(): ...")
    result = run(pytester, monkeypatch)
    result.stdout.no_fnmatch_line("*left out*")

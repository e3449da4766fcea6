"""Random projects: a dry run that passes is followed by a migration after which Django reads the same."""

import datetime as dt

import pytest

from tests.support.generated_projects import generated
from tests.support.projects import assert_migrated, is_sound, migrate

TODAY = dt.datetime.now(dt.UTC).date().toordinal()


@pytest.mark.parametrize("number", range(9))
def test_generated_project_is_migrated(number: int) -> None:
    assert_migrated(generated(number))


def test_project_of_the_day_is_migrated_or_refused_by_the_dry_run() -> None:
    """Another one each day. Its number is in the message if it fails."""
    outcome = migrate(generated(TODAY))
    try:
        is_sound(outcome)
    except AssertionError as error:
        raise AssertionError(f"generated({TODAY})") from error


@pytest.mark.slow
@pytest.mark.parametrize("number", range(9, 200))
def test_more_generated_projects_are_migrated_or_refused_by_the_dry_run(number: int) -> None:
    is_sound(migrate(generated(number)))

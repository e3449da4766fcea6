"""Random projects: a dry run that passes is followed by a migration, a backup and a restore; Django reads the same.

So it does when the rows have come back to SQLite.
"""

import datetime as dt

import pytest

from tests.support.generated_projects import generated
from tests.support.projects import assert_migrated, is_sound, migrate
from tests.support.slow import slow_except

ORDINARY = (0, 1)
FIRST_TEN = range(10)
"""Ten numbers that differ in the last digit only, so that they have all that projects can have."""
TODAY = dt.datetime.now(dt.UTC).date().toordinal()


@pytest.mark.parametrize("number", slow_except(FIRST_TEN, *ORDINARY))
def test_generated_project_is_migrated_and_restored(number: int) -> None:
    outcome = assert_migrated(generated(number))
    assert {name: ended.code for name, ended in outcome.home.items()} == {"dry run of the way back": 0, "way back": 0}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10, 200))
def test_more_generated_projects_are_migrated_and_restored_or_refused_by_the_dry_run(number: int) -> None:
    is_sound(migrate(generated(number)))


@pytest.mark.slow
def test_project_of_the_day_is_migrated_and_restored_or_refused_by_the_dry_run() -> None:
    """Another one each day. Its number is in the message if it fails."""
    outcome = migrate(generated(TODAY))
    try:
        is_sound(outcome)
    except AssertionError as error:
        raise AssertionError(f"generated({TODAY})") from error

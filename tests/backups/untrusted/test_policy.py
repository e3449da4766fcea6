"""Tables whose live rows are kept next to the rows of an untrusted file."""

from typing import Any

import pytest

from ops.backups.table_policy import kept_live, never_from_untrusted_files


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (["otherproject_tag"], {"otherproject_tag"}),
        # It refers to books, whose rows come from the file.
        (["otherproject_author"], set()),
        (["otherproject_author", "otherproject_book"], {"otherproject_author", "otherproject_book"}),
        (
            ["otherproject_author", "otherproject_book", "otherproject_book_tags"],
            {"otherproject_author", "otherproject_book"},
        ),
        (["a_table_without_a_model"], {"a_table_without_a_model"}),
    ],
)
def test_kept_live_tables_refer_to_no_table_of_the_file(settings: Any, named: list[str], kept: set[str]) -> None:
    settings.OPS_UNTRUSTED_EXCLUDED_TABLES = named
    assert kept_live(trusted=False) & set(named) == kept
    assert set(named) <= never_from_untrusted_files()


def test_kept_live_tables_include_no_sessions_and_history() -> None:
    kept = kept_live(trusted=False)
    assert {"axes_accessattempt", "django_celery_beat_periodictask"} <= kept
    assert not kept & {"django_session", "ops_run", "ops_backup"}

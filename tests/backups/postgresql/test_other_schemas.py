"""Projects whose tables are in another schema than ``public``."""

import pytest

from tests.support.projects import Project, is_sound, migrate


@pytest.mark.parametrize("schema", ["a.b", *(pytest.param(name, marks=pytest.mark.slow) for name in ("app", "Größe"))])
def test_rows_and_permissions_are_compared_before_a_restore(schema: str) -> None:
    outcome = migrate(
        Project(
            models="class Item(models.Model):\n    name = models.TextField()\n",
            fill="Item.objects.create(name='a')",
            database_sql=[f'CREATE SCHEMA "{schema}"', f'ALTER DATABASE {{name}} SET search_path = "{schema}"'],
            restored=True,
        )
    )
    is_sound(outcome)
    assert "Now Backup Restored Removed Items 0 1 1 " in outcome.commands["restore"].words
    assert "No user will get more permissions." in outcome.commands["restore"].words

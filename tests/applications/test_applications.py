"""Applications of PyPI: filled with odd data, migrated, backed up, changed and restored, and equal through the ORM."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.applications.support import application
from tests.support.forked import ROOT
from tests.support.projects import assert_migrated

APPLICATIONS: dict[str, dict[str, Any]] = {
    "guardian_rights": {
        "apps": ["guardian"],
        "settings": {
            "AUTHENTICATION_BACKENDS": [
                "django.contrib.auth.backends.ModelBackend",
                "guardian.backends.ObjectPermissionBackend",
            ]
        },
    },
    "oauth2": {"apps": ["oauth2_provider"]},
    "polymorphic_children": {"apps": ["polymorphic"]},
    "reversion_versions": {"apps": ["reversion"]},
    "simple_history_of_rows": {"apps": ["simple_history"], "settings": {"TIME_ZONE": "Europe/Berlin"}},
    "taggit_tags": {"apps": ["taggit"]},
    "trees": {"apps": ["mptt", "treebeard"]},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_application_reads_the_same_after_migration_and_restore(name: str) -> None:
    outcome = assert_migrated(application(name, **APPLICATIONS[name]))
    extra = outcome.extra
    assert extra["migrated"] == extra["expected"]
    assert extra["changed"]
    assert extra["restored"] == extra["expected"]
    assert not extra["differences"], "\n".join(extra["differences"])


def test_applications_bring_no_second_copy_of_what_the_project_installs() -> None:
    """With ``--no-deps``, pip installs what is listed only."""
    ours = [*pinned(ROOT / "requirements.txt"), *pinned(ROOT / "requirements-dev.txt")]
    assert not {*pinned(ROOT / "tests/applications/requirements.txt")} & {*ours}


def pinned(requirements: Path) -> list[str]:
    """Names of packages, which must have one version each."""
    lines = [line for line in requirements.read_text().splitlines() if line and line[0] not in "#-"]
    assert all("==" in line for line in lines)
    return [re.split(r"[=\[]", line)[0].lower().replace("_", "-") for line in lines]

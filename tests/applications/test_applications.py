"""Applications of PyPI: filled with odd data, migrated, backed up, changed and restored, and equal through the ORM."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.applications.support import HERE, application
from tests.support.forked import ROOT
from tests.support.projects import assert_migrated, assert_refused

WAGTAIL = [
    *("admin", "contrib.forms", "contrib.redirects", "documents", "embeds", "images", "search", "sites", "snippets"),
    "users",
]
APPLICATIONS: dict[str, dict[str, Any]] = {
    "cms_site": {
        "apps": [
            *("cms", "menus", "treebeard", "sekizai", "easy_thumbnails", "filer", "polymorphic"),
            *("django.contrib.admin", "django.contrib.messages", "django.contrib.sessions", "django.contrib.sites"),
        ],
        "settings": {
            "CMS_CONFIRM_VERSION4": True,
            "CMS_TEMPLATES": [("page.html", "Page")],
            "LANGUAGE_CODE": "en",
            "LANGUAGES": [("en", "English"), ("de", "Deutsch")],
            "ROOT_URLCONF": "cms.urls",
            "SITE_ID": 1,
            "STATIC_URL": "/static/",
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {
                        "context_processors": [
                            "django.template.context_processors.request",
                            "cms.context_processors.cms_settings",
                            "sekizai.context_processors.sekizai",
                        ]
                    },
                }
            ],
            "THUMBNAIL_HIGH_RESOLUTION": True,
        },
        "files": {
            "shop/cms_plugins.py": (HERE / "cms_plugins.py").read_text(),
            "shop/templates/page.html": "{% load cms_tags %}{% placeholder 'content' %}",
        },
    },
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
    "wagtail_site": {
        "apps": [
            *(f"wagtail.{name}" for name in WAGTAIL),
            *("wagtail", "modelcluster", "taggit", "django.contrib.messages", "django.contrib.sessions"),
        ],
        "settings": {
            "ROOT_URLCONF": "wagtail.urls",
            "STATIC_URL": "/static/",
            "WAGTAIL_SITE_NAME": "ä",
            "WAGTAILADMIN_BASE_URL": "https://example.org",
            "WAGTAIL_I18N_ENABLED": True,
            "WAGTAIL_CONTENT_LANGUAGES": [("en", "English"), ("de", "Deutsch")],
            "LANGUAGES": [("en", "English"), ("de", "Deutsch")],
        },
        "not_compared": ["wagtailsearch.IndexEntry"],
    },
}
TABLE = (ROOT / "docs/ops-in-your-project.md").read_text().partition("## Applications that were tried")[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_application_reads_the_same_after_migration_and_restore(name: str) -> None:
    outcome = assert_migrated(application(name, **APPLICATIONS[name]))
    extra = outcome.extra
    assert extra["migrated"] == extra["expected"]
    assert extra["changed"]
    assert extra["restored"] == extra["expected"]
    assert not extra["differences"], "\n".join(extra["differences"])
    assert not extra["access"], "an untrusted file may replace these tables, whose rows give access"


@pytest.mark.slow
def test_histories_without_time_zones_are_migrated() -> None:
    """Their times are those of Berlin: one is repeated when the clocks change, one has an offset of 53 minutes."""
    settings = {"USE_TZ": False, "TIME_ZONE": "Europe/Berlin"}
    assert_migrated(application("simple_history_of_rows", apps=["simple_history"], settings=settings, after=""))


NUL = {
    "oauth2": {"oauth2_provider_accesstoken.token": "'a' || char(0)"},
    "simple_history_of_rows": {"shop_historicalthing.details": """'{"a": "\\u0000"}'"""},
    "taggit_tags": {"taggit_tag.name": "'a' || char(0) || id", "taggit_tag.slug": "'b' || char(0) || id"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NUL)
def test_nul_characters_in_rows_of_applications_are_named(name: str) -> None:
    """SQLite lets them through; PostgreSQL does not."""
    columns = [(*column.split("."), value) for column, value in NUL[name].items()]
    raw = [
        f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT max(rowid) FROM {table})"
        for table, column, value in columns
    ]
    project = application(name, raw=raw, **APPLICATIONS[name])
    assert_refused(project, *(f"1 × {column}: " for column in NUL[name]), "NUL")


def test_applications_bring_no_second_copy_of_what_the_project_installs() -> None:
    """With ``--no-deps``, pip installs what is listed only."""
    ours = [*pinned(ROOT / "requirements.txt"), *pinned(ROOT / "requirements-dev.txt")]
    assert not {*pinned(ROOT / "tests/applications/requirements.txt")} & {*ours}


def test_documentation_names_the_versions_of_the_applications() -> None:
    text = (ROOT / "tests/applications/requirements.txt").read_text().partition("# What they import")[0]
    rows = re.findall(r"^\| (\S+)(?: with (\S+))? \| ([\d.]+)(?:, ([\d.]+))? \|", TABLE, re.MULTILINE)
    named = {f"{row[place]}=={row[place + 2]}" for row in rows for place in (0, 1) if row[place]}
    ours = {*(ROOT / "requirements.txt").read_text().splitlines()}
    assert named - ours == {line for line in text.splitlines() if not line.startswith("#")}


def pinned(requirements: Path) -> list[str]:
    """Names of packages, which must have one version each."""
    lines = [line for line in requirements.read_text().splitlines() if line and line[0] not in "#-"]
    assert all("==" in line for line in lines)
    return [re.split(r"[=\[]", line)[0].lower().replace("_", "-") for line in lines]

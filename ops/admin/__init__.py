"""The pages of the database in Django's admin. Django imports this package to find the admin classes."""

import django_stubs_ext

# `ModelAdmin[Run]` is legal at run time from here on, also in a project whose settings do not see to it.
django_stubs_ext.monkeypatch()

from ops.admin import backups, runs  # noqa: E402

__all__ = ["backups", "runs"]

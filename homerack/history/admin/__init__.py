"""The pages of the history. Importing this package registers its admin class."""

import django_stubs_ext

# Makes `ModelAdmin[ChangeSet]` legal at run time.
django_stubs_ext.monkeypatch()

from homerack.history.admin import pages  # noqa: E402

__all__ = ["pages"]

"""Two groups for users who are not administrators: editors and viewers of the inventory."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

RIGHTS = {"Editors": ("view", "add", "change", "delete"), "Viewers": ("view",)}


def make_groups(apps, schema_editor):
    alias = schema_editor.connection.alias
    make_permissions(apps, alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias).filter(content_type__app_label="inventory")
    for name, verbs in RIGHTS.items():
        group, _ = apps.get_model("auth", "Group").objects.using(alias).get_or_create(name=name)
        group.permissions.add(*(right for right in permissions if right.codename.partition("_")[0] in verbs))


def make_permissions(apps, alias):
    """Django makes permissions after the last migration of a run; the groups need them now."""
    config = apps.get_app_config("inventory")
    config.models_module = True
    create_permissions(config, verbosity=0, interactive=False, using=alias, apps=apps)
    config.models_module = None


class Migration(migrations.Migration):

    dependencies = [
        ("inventory", "0001_release"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]

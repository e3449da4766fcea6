"""Three groups for users who are not superusers: they view, make, or restore backups."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEW = ("view_backup", "view_run")
OPERATE = (*VIEW, "make_backup", "verify_backup", "pin_backup")
RIGHTS = {
    "Backup viewers": VIEW,
    "Backup operators": OPERATE,
    "Backup restorers": (*OPERATE, "restore_backup"),
}


def make_groups(apps, schema_editor):
    alias = schema_editor.connection.alias
    make_permissions(apps, alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias).filter(content_type__app_label="ops")
    for name, rights in RIGHTS.items():
        group, _ = apps.get_model("auth", "Group").objects.using(alias).get_or_create(name=name)
        group.permissions.add(*permissions.filter(codename__in=rights))


def make_permissions(apps, alias):
    """Django makes permissions after the last migration of a run; the groups need them now."""
    config = apps.get_app_config("ops")
    config.models_module = True
    create_permissions(config, verbosity=0, interactive=False, using=alias, apps=apps)
    config.models_module = None


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0001_release"),
        ("ops", "0001_release"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]

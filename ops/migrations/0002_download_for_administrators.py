"""Downloads and uploads of backups are for superusers: there is no permission for them any more."""

from django.db import migrations

GONE = ("download_backup", "upload_backup")


def remove_permissions(apps, schema_editor):
    """Django makes permissions after a migration, and never removes one."""
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="ops", codename__in=GONE).delete()


class Migration(migrations.Migration):

    dependencies = [
        ("ops", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="backup",
            options={
                "default_permissions": ("view", "delete"),
                "ordering": ("-when",),
                "permissions": (
                    ("make_backup", "Can make a backup"),
                    ("verify_backup", "Can verify a backup"),
                    ("keep_backup", "Can keep a backup from being pruned"),
                    ("restore_backup", "Can restore a backup"),
                ),
            },
        ),
        migrations.RunPython(remove_permissions, migrations.RunPython.noop),
    ]

"""The schedules that HomeRack starts with. They are created once: later changes and deletions stay."""

from django.conf import settings
from django.db import migrations

HOUR = 3600
# Name, task, description, crontab (minute, hour, day of week), seconds after which a waiting start expires.
DAILY = [
    ("Back up", "ops.tasks.back_up", "Makes a backup and verifies it by reading it back.", ("0", "2", "*"), 12 * HOUR),
    ("Prune backups", "ops.tasks.prune", "Deletes backups outside the retention policy.", ("0", "3", "*"), 12 * HOUR),
    ("Restore test", "ops.tasks.restore_test", "Restores the newest backup into a scratch database and compares.",
     ("30", "3", "0"), 48 * HOUR),
    ("Drop expired previous databases", "ops.tasks.drop_expired_previous",
     "Drops the database that a restore replaced, and deletes SQLite files of migrations.", ("0", "4", "*"), 12 * HOUR),
]
# Name, task, description, interval (every, period), seconds after which a waiting start expires.
REPEATED = [
    ("Reconcile", "ops.tasks.reconcile", "Marks interrupted operations and cleans up after them.", (5, "minutes"), 300),
    ("Copy backups", "ops.tasks.copy_backups", "Copies what other storage locations lack; each backup is copied at once.",
     (1, "hours"), HOUR),
]


def make_schedules(apps, schema_editor):
    alias = schema_editor.connection.alias
    tasks = apps.get_model("django_celery_beat", "PeriodicTask").objects.using(alias)
    crontabs = apps.get_model("django_celery_beat", "CrontabSchedule").objects.using(alias)
    intervals = apps.get_model("django_celery_beat", "IntervalSchedule").objects.using(alias)
    for name, task, description, (minute, hour, day_of_week), expire_seconds in DAILY:
        crontab, _ = crontabs.get_or_create(
            minute=minute, hour=hour, day_of_week=day_of_week, day_of_month="*", month_of_year="*",
            timezone=settings.TIME_ZONE,
        )
        defaults = {"task": task, "description": description, "crontab": crontab, "expire_seconds": expire_seconds}
        tasks.get_or_create(name=name, defaults=defaults)
    for name, task, description, (every, period), expire_seconds in REPEATED:
        interval, _ = intervals.get_or_create(every=every, period=period)
        defaults = {"task": task, "description": description, "interval": interval, "expire_seconds": expire_seconds}
        tasks.get_or_create(name=name, defaults=defaults)


class Migration(migrations.Migration):

    dependencies = [("django_celery_beat", "0019_alter_periodictasks_options")]

    operations = [migrations.RunPython(make_schedules, migrations.RunPython.noop)]

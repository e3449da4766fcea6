"""One run of each kind waits at a time."""

from django.db import migrations, models
from django.utils import timezone


def cancel_all_but_the_oldest(apps, schema_editor):
    """A backup made before this rule may bring several."""
    queued = apps.get_model('ops', 'Run').objects.using(schema_editor.connection.alias).filter(status='queued')
    kinds = set()
    for key, kind in list(queued.order_by('asked').values_list('pk', 'kind')):
        if kind in kinds:
            why = 'Another run of this kind had been queued before.'
            queued.filter(pk=key).update(status='cancelled', ended=timezone.now(), error=why)
        kinds.add(kind)


class Migration(migrations.Migration):

    dependencies = [
        ('ops', '0002_download_for_administrators'),
    ]

    operations = [
        migrations.RunPython(cancel_all_but_the_oldest, migrations.RunPython.noop, elidable=True),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'queued')), fields=('kind',), name='ops_run_one_queued_of_a_kind'),
        ),
    ]

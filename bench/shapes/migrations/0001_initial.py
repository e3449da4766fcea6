from django.db import migrations

from bench.shapes.models import SHAPED


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(model.__name__, [(field.name, field.clone()) for field in model._meta.local_fields])
        for model in SHAPED
    ]

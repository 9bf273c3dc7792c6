from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mana_rtc', '0002_media_workers'),
    ]

    operations = [
        migrations.AddField(
            model_name='callparticipant',
            name='is_recording',
            field=models.BooleanField(default=False, verbose_name='records'),
        ),
    ]

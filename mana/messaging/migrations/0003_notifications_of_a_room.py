from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mana_messaging", "0002_changes_and_control"),
    ]

    operations = [
        migrations.AlterField(
            model_name="membership",
            name="notifications",
            field=models.CharField(
                choices=[
                    ("default", "as the user chose for all rooms"),
                    ("all", "all"),
                    ("mentions", "mentions"),
                    ("none", "none"),
                ],
                default="default",
                max_length=8,
            ),
        ),
    ]

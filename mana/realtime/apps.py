from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    name = "mana.realtime"
    label = "mana_realtime"
    verbose_name = "Mana connections"
    default_auto_field = "django.db.models.BigAutoField"

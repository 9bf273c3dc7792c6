from django.apps import AppConfig


class ManaE2EEConfig(AppConfig):
    name = "mana_e2ee"
    verbose_name = "Mana end-to-end encryption"
    default_auto_field = "django.db.models.BigAutoField"

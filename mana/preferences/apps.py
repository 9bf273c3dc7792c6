from django.apps import AppConfig


class PreferencesConfig(AppConfig):
    name = "mana.preferences"
    label = "mana_preferences"
    verbose_name = "Mana preferences"
    default_auto_field = "django.db.models.BigAutoField"

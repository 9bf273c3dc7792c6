from django.apps import AppConfig


class ModerationConfig(AppConfig):
    name = "mana.moderation"
    label = "mana_moderation"
    verbose_name = "Mana moderation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mana.moderation import audit

        audit.listen()

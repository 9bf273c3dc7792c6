from django.apps import AppConfig


class ManaE2EEConfig(AppConfig):
    name = "mana_e2ee"
    verbose_name = "Mana end-to-end encryption"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mana_e2ee import checks

        # Without its cryptography the app is of no use, and a check says so.
        if checks.missing() is None:
            from mana_e2ee import devices, handlers, keeper, metrics  # noqa: F401  register themselves

from django.apps import AppConfig, apps


class ManaRTCConfig(AppConfig):
    name = "mana_rtc"
    verbose_name = "Mana calls"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the frame handlers, the checks, and what every node does for calls."""
        from mana.realtime import hub
        from mana_rtc import checks, handlers, occasions  # noqa: F401  register themselves
        from mana_rtc.keeper import CallKeeper

        hub.accompany(CallKeeper)
        occasions.listen()
        if apps.is_installed("mana.observability"):
            from mana.observability import doctor, metrics
            from mana_rtc.doctor import examine_calls
            from mana_rtc.metrics import collect

            metrics.collect_from(collect)
            doctor.contribute("calls", examine_calls)

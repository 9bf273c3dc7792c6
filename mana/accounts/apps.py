from typing import Any

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "mana.accounts"
    label = "mana_accounts"
    verbose_name = "Mana accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Keeps names, sockets, sessions and permissions in step with what Django and the project do by themselves."""
        from django.contrib.auth import get_user_model
        from django.contrib.auth.models import Group
        from django.contrib.auth.signals import user_logged_in, user_logged_out
        from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save

        from mana.accounts import credentials, permissions, upkeep
        from mana.accounts.services import sign_ins
        from mana.realtime.credentials import register

        register(credentials.ended)
        credentials.watch()

        user_model = get_user_model()
        post_migrate.connect(upkeep.set_up_roles, sender=self, dispatch_uid="mana.roles")
        post_migrate.connect(upkeep.identify_everybody, sender=self, dispatch_uid="mana.identifiers")
        post_save.connect(upkeep.user_saved, sender=user_model, dispatch_uid="mana.user_saved")
        user_logged_in.connect(sign_ins.session_began, dispatch_uid="mana.session_began")
        user_logged_out.connect(sign_ins.session_ended, dispatch_uid="mana.session_ended")
        changed: list[Any] = [Group.permissions.through]
        changed += [
            getattr(user_model, name).through for name in ("groups", "user_permissions") if hasattr(user_model, name)
        ]
        for through in changed:
            m2m_changed.connect(permissions.forget, sender=through, dispatch_uid="mana.permissions")
        for model in (Group, user_model):
            post_delete.connect(permissions.forget, sender=model, dispatch_uid="mana.permissions")

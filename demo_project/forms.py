"""The forms of the demo's pages."""

from __future__ import annotations

from typing import Any

from django import forms

from mana.accounts import services


class SignUpForm(forms.Form):
    """A name and a password; the rules are those of ``mana.accounts.services.register``."""

    username = forms.CharField(
        max_length=150,
        label="Username",
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        help_text="At least 8 characters, not only digits.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    user: Any  # of the project's user model, once the form is valid

    def clean(self) -> dict[str, Any]:
        """Registers the user, so that what the service refuses becomes an error of its field."""
        data = super().clean() or {}
        if not self.errors:
            self.user = services.register(username=data["username"], password=data["password"])
        return data

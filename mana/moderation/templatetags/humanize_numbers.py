"""Numbers that are easy to read, without asking the project for ``django.contrib.humanize``."""

from django import template

register = template.Library()


@register.filter
def grouped(number: int) -> str:
    """12345678 as 12,345,678."""
    return f"{number:,}"

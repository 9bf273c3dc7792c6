"""How a package of an app gives its services by its own name, without importing models before Django is ready."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def service(package: str, name: str) -> Any:
    """The function ``name`` of the package's services. Raises ``AttributeError`` for what is not public there."""
    if not name.startswith("_") and find_spec(f"{package}.{name}") is None:  # a module of the app is imported as ever
        services = import_module(f"{package}.services")
        if name in services.__all__:
            return getattr(services, name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")

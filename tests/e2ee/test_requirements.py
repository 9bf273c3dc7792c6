"""Comparisons with other libraries are never left out silently: where nothing may be skipped, what is missing fails."""

import pytest

from tests.support import services


@pytest.mark.parametrize(
    ("name", "table", "value", "way"),
    [
        ("noble", "NPM_PACKAGES", None, "install_npm_packages"),
        ("node", "PROGRAMS", {"node": ("no-such-program",)}, "apt-get install nodejs"),
        ("chromium", "PROGRAMS", {"chromium": ("no-such-program",)}, "chromium-driver"),
        ("syndace", "PYTHON_PACKAGES", {"syndace": ("no_such_package",)}, "e2ee-test"),
        ("vectors", "PYTHON_PACKAGES", {"vectors": ("no_such_package",)}, "e2ee-test"),
    ],
)
def test_what_is_missing_skips_with_the_way_to_have_it_or_fails(name, table, value, way, monkeypatch, tmp_path):
    monkeypatch.setattr(services, table, tmp_path if value is None else value)
    monkeypatch.delenv("MANA_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=way):
        services.require(name)
    monkeypatch.setenv("MANA_TEST_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match=way):
        services.require(name)

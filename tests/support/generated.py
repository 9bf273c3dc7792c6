"""Files that are made from the code. ``--check`` fails if one is not current; without it they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = {
    "docs/settings.md": ["mana_settings"],
    "docs/asyncapi.json": ["mana_asyncapi"],
    "docs/openapi.yaml": ["spectacular", "--validate", "--fail-on-warn"],
}


def main() -> int:
    """0 if all are current or were written."""
    outdated = []
    for name, command in FILES.items():
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "demo_project.settings"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            print(done.stderr)
            return 1
        path = ROOT / name
        if "--check" not in sys.argv:
            path.write_text(done.stdout, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != done.stdout:
            outdated.append(name)
    if outdated:
        print(f"Not current: {', '.join(outdated)}. Run: python -m tests.support.generated")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())

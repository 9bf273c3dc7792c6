"""Changes the core in every way that mutmut knows, and runs the tests on each change. MUTATION.md has the outcome.

    python3 -m venv /tmp/venv-mutation
    /tmp/venv-mutation/bin/pip install mutmut==3.8.1 pytest cryptography
    /tmp/venv-mutation/bin/python tests/e2ee/mutate.py /tmp/mutation

It works on a copy, for a quarter of an hour on two cores, and goes on where it was stopped. Survivors are then in
/tmp/mutation/survivors.txt, those apart that change only the text of an error or a `repr`.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Those that need no other process: the comparisons with JavaScript and Syndace, and hypothesis, would kill more.
TESTS = ["expiry", "hostile_input", "lists", "misuse", "parts", "protocol_page", "sessions", "vectors"]
SETTINGS = f"""
[tool.mutmut]
source_paths = ["mana_e2ee/core/"]
also_copy = ["mana_e2ee", "tests", "docs"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {[f"tests/e2ee/test_{name}.py" for name in TESTS]}
"""
TEXT = re.compile(r'^-\s+(raise \w+\(|super\(\).__init__\(f"|return f?"\w+\()', re.MULTILINE)


def mutmut(work: Path, *arguments: str, show: bool = False) -> str:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    done = subprocess.run(command, cwd=work, check=False, text=True, stdout=None if show else subprocess.PIPE)
    return done.stdout or ""


def main(work: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for folder in ("mana_e2ee", "tests/e2ee", "docs"):
        shutil.copytree(ROOT / folder, work / folder, dirs_exist_ok=True, ignore=ignore)
    (work / "tests/__init__.py").touch()
    (work / "pyproject.toml").write_text(SETTINGS)
    mutmut(work, "run", "--max-children", "2", show=True)
    texts, others = [], []
    for line in mutmut(work, "results").splitlines():
        name, _, outcome = line.strip().partition(": ")
        change = re.findall(r"^[-+](?![-+]).*$", mutmut(work, "show", name), re.MULTILINE) if outcome else []
        if change:
            (texts if TEXT.search("\n".join(change)) else others).append("\n".join([f"{outcome} {name}", *change]))
    survivors = "\n\n".join(others)
    (work / "survivors.txt").write_text(f"{survivors}\n\n{len(others)} above; {len(texts)} of an error's text:\n\n")
    with (work / "survivors.txt").open("a") as file:
        file.write("\n\n".join(texts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

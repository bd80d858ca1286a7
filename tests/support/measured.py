"""A small project that coverage.py really measured, for whoever needs a data file."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": (
        "def net(gross, rate):\n    if rate < 0:\n        raise ValueError(rate)\n"
        "    return gross / (1 + rate)\n"
        "\n\ndef tiers(amount):\n    for limit in (10, 100):\n"
        "        if amount < limit:\n            return limit\n"
        "    return None\n\n\nclass Basket:\n    def total(self):  # pragma: no cover\n        return 0\n"
    ),
    "shop/stock.py": "ITEMS = ['<b>&amp;']\n\n\ndef empty():\n    return [i for i in ITEMS if not i]\n",
    "shop/unused.py": "def never():\n    return 1\n",
    "suite.py": (
        "from shop import prices, stock, unused\n\n\ndef test_net():\n    assert prices.net(11, 0.1)\n\n\n"
        "def test_tiers():\n    assert prices.tiers(5) == 10\n\n\ntest_net()\ntest_tiers()\n"
    ),
}


@dataclass(frozen=True)
class Measured:
    """The project's folder and the combined data file, alone in another folder."""

    source_dir: Path
    data_file: Path


def measure(folder: Path, *, branch: bool = False, contexts: bool = False, config: str = "") -> Measured:
    """Give a copy of the project in ``folder`` with what its tests gave, and with ``config`` for reports."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("project", "data"):
        shutil.copytree(Path(_measured(branch, contexts, config).name) / part, folder / part)
    return Measured(folder / "project", folder / "data" / ".coverage")


@functools.cache
def _measured(branch: bool, contexts: bool, config: str) -> tempfile.TemporaryDirectory[str]:
    """Run the project's tests under coverage.py, in a folder that goes with this process."""
    folder = tempfile.TemporaryDirectory(prefix="covfleet-measured-")
    sources, data = Path(folder.name) / "project", Path(folder.name) / "data" / ".coverage"
    data.parent.mkdir()
    for name, content in _FILES.items():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text(content)
    (sources / ".coveragerc").write_text(
        f"[run]\nrelative_files = true\nbranch = {branch}\nsource = .\n"
        + ("dynamic_context = test_function\n" if contexts else "")
        + config
    )
    coverage("run", f"--data-file={data}", "suite.py", cwd=sources)
    return folder


def coverage(*arguments: str, cwd: Path) -> str:
    """Run the stock command and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout

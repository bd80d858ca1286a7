"""The text form of coverage's settings says all that a file says, and so does the file that is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coverage import Coverage
from covfleet_worker.settings import apply, as_ini, found_here, to_text

FILES = {
    "nothing": "",
    "run": "[run]\nbranch = true\nsource =\n    shop\n    a b/c\nomit = */x.py, y[0-9].py\ntimid = yes\n",
    "dollars": "[run]\nomit = a$$b, $${HOME}\ncontext = x$$y\n[report]\nexclude_also = end$$\n",
    "plugins": "[run]\nplugins = a.b\n[a.b]\ntemplates = *.html, *.txt\nlimit = 5\n",
    "paths": "[paths]\nsource =\n    src\n    */site-packages\n",
    "report": "[report]\nfail_under = 87.5\nprecision = 3\nskip_empty = true\nexclude_lines =\n    a, b\n",
}


def read(folder: Path, text: str) -> Coverage:
    (folder / "rc").write_text(text)
    return Coverage(data_file=None, config_file=str(folder / "rc"))


@pytest.mark.parametrize("file", FILES.values(), ids=FILES.keys())
def test_the_text_says_all_that_the_file_says(tmp_path: Path, file: str) -> None:
    text = to_text(read(tmp_path, file).config)
    cov = Coverage(data_file=None, config_file=False)
    apply(cov, text)
    assert to_text(cov.config) == text


@pytest.mark.parametrize("file", FILES.values(), ids=FILES.keys())
def test_child_processes_that_read_a_file_measure_the_same(tmp_path: Path, file: str) -> None:
    text = to_text(read(tmp_path, file).config)
    again = json.loads(to_text(read(tmp_path, as_ini(text)).config))
    wanted = json.loads(text)
    measuring = {option for option in wanted if option.startswith(("run:", "a.b:"))}
    assert {option: again.get(option) for option in measuring} == {
        option: wanted[option] for option in measuring
    }


def test_places_are_no_settings(tmp_path: Path) -> None:
    places = "[run]\ndata_file = x\nparallel = true\nrelative_files = true\n[html]\ndirectory = y\n"
    assert to_text(read(tmp_path, places).config) == to_text(read(tmp_path, "").config)


def test_a_folder_without_the_file_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (found_here(""), found_here(".coveragerc")) == ("", "")

"""What ``.dockerignore`` leaves out, checked without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from covfleet.adapters.docker.ignore import is_ignored, kept_paths, parse


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        ("secrets", ["secrets", "secrets/key", "secrets/a/b"], ["a/secrets", "secrets.py"]),
        ("/secrets/", ["secrets/key"], ["a/secrets"]),
        ("**/secrets", ["secrets/key", "a/secrets", "a/b/secrets/key"], ["my-secrets"]),
        ("**/secrets !README", ["secrets/key", "a/secrets/key"], ["README"]),
        ("*.log", ["a.log"], ["a/b.log", "a.log.py", "alog"]),
        ("*/temp*", ["a/temporary.txt", "a/temp/x"], ["temp", "a/b/temp"]),
        ("temp?", ["tempa"], ["temp", "tempab", "temp/"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["a/bz", "z"]),
        ("[a-c].py", ["b.py"], ["d.py", "[a-c].py"]),
        (r"\*.py", ["*.py"], ["a.py"]),
        ("a+b.$x", ["a+b.$x"], ["aab.$x", "a+bxx"]),
        ("*.md !README.md", ["a.md"], ["README.md"]),
        ("*.md !README*.md README-secret.md", ["README-secret.md"], ["README.md"]),
        ("* !src", ["a", "a/src"], ["src", "src/a"]),
        ("a/../b ./c", ["b", "c"], ["a"]),
        ("# a . /", [], [".", "b", "#"]),
    ],
)
def test_a_pattern_means_what_it_means_to_docker(lines: str, ignored: list[str], kept: list[str]) -> None:
    rules = parse([lines] if lines.startswith("#") else lines.split())
    assert [path for path in ignored if not is_ignored(path, rules)] == []
    assert [path for path in kept if is_ignored(path, rules)] == []


def test_a_folder_left_out_gives_back_only_what_is_asked_for(tmp_path: Path) -> None:
    for path in ["secrets/key", "secrets/README", "docs/a", "z"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "link").symlink_to("docs")
    rules = parse(["**/secrets", "!secrets/README"])
    assert kept_paths(tmp_path, rules) == ("docs", "docs/a", "link", "secrets/README", "z")

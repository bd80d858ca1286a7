"""Planning a build for real: what it asks of the store, and what it makes of odd names."""

from __future__ import annotations

from pathlib import Path

import pytest
from covfleet.adapters.folder.store import LocalStore
from covfleet.errors import StoreError
from support.runs import new_build, write_project


class Careless(LocalStore):
    """A store that overwrites whatever the conditions say."""

    def put(self, key: str, data: bytes, **options: object) -> str:
        return super().put(key, data)


def test_nothing_is_planned_in_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    build = new_build(write_project(tmp_path / "project", {"test_x.py": "def test_x(): pass\n"}))
    build.store = Careless(tmp_path / "store")
    with pytest.raises(StoreError, match="ignores conditional puts"):
        build.plan()
    assert list(build.store.list(build.keys.of_commit.folder)) == []


def test_names_with_any_syntax_are_only_names(tmp_path: Path) -> None:
    file = "-rf dir/test_$(touch pwned) '\"${x}`id`<b>&amp;.py"
    ids = ["a::b", "../../x", "-k", "<script>", "line\nbreak", "ä🦊", "\x1b[2J", "\\u0027"]
    ids.append("'\"${x}$(touch pwned)")
    code = f"""
        import pytest
        @pytest.mark.parametrize("value", {ids!a}, ids=str)
        def test_it(value): assert value == "a::b"
    """
    build = new_build(write_project(tmp_path / "project", {file: code}), unit="test", batch_s=0.001)
    plan = build.plan()
    assert len(plan.tests) == len(plan.batches) == len(ids)
    assert all(test.startswith(f"{file}::test_it[") for test in plan.tests)
    build.run_shard(plan)
    outcomes = build.outcomes()
    assert set(outcomes) == set(plan.tests)
    assert sorted(outcome.outcome for outcome in outcomes.values()) == ["failed"] * 8 + ["passed"]
    assert build.combine().ledger.verdict == "complete"
    assert not list(tmp_path.rglob("pwned"))

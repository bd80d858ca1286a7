"""The rendered Jenkinsfile, executed: agents, checkouts and commands are real, Jenkins alone isn't."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from covfleet.adapters.stores import open_store
from covfleet.jenkins.render import drifts, jenkinsfile, render
from covfleet.settings.load import load_settings
from covfleet.settings.schema import Settings
from covfleet.store.keys import CommitKeys
from support.dataset_equal import arcs_by_file
from support.jenkins_project import ALL_LINES, TESTS, SmallProject, settings_table
from support.jenkinsfiles import LIGHT_LABEL, SHARD_LABEL, Job, commit_all, git
from support.processes import start_covfleet
from support.runs import write_project

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "trading"
COPIED = shutil.ignore_patterns(".covfleet", "__pycache__")


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    return SmallProject(tmp_path)


def test_shards_that_do_nothing_fail_the_build_though_combine_runs(project: SmallProject) -> None:
    broken = project.before_covfleet('[ "$1" != shard ] || exit 6')
    project.write(jenkins=broken)
    ended = project.build()
    assert ended.result == "FAILURE"
    assert (ended.stage("Tests"), ended.stage("Combine")) == ("DONE", "Abort")
    assert "combine ended with exit code 5" in ended.log
    assert "tests/test_odd.py::test_odd" in ended.log


def test_a_damaged_data_file_fails_the_build_by_name(project: SmallProject) -> None:
    damage = f"""
        [ "$1 $2" != "combine --follow" ] || exit 6
        if [ "$1" = combine ]; then
            for file in $(find {project.folder}/store -name '.coverage.*'); do : > "$file"; done
        fi
        """
    project.write(jenkins=project.before_covfleet(damage))
    ended = project.build()
    assert ended.result == "FAILURE"
    assert "combine ended with exit code 5" in ended.log
    assert re.search(r"\.coverage\.\S+", ended.log)
    assert ended.stage("Report") == "SKIPPED"


def test_if_combining_beside_the_shards_fails_the_next_stage_does_it(project: SmallProject) -> None:
    commit = project.write(jenkins=project.before_covfleet('[ "$1 $2" != "combine --follow" ] || exit 1'))
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert [ended.stage(name) for name in ("Combine", "Report")] == ["DONE", "DONE"]
    combines = [" ".join(words[1:3]) for script in ended.scripts() if "combine" in (words := script.split())]
    assert combines == ["combine --follow", "combine --build"]
    assert project.ledger(commit).verdict == "complete"
    assert project.lines(commit) == ALL_LINES


def test_what_was_done_beside_the_shards_is_not_done_again(project: SmallProject) -> None:
    commit = project.write()
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert [ended.stage(name) for name in ("Combine", "Report")] == ["SKIPPED", "SKIPPED"]
    assert len(ended.facts["tests"]) == len(ended.facts["coverage"]) == 1
    [script] = [script for script in ended.scripts() if "combine" in script]
    assert script.startswith("covfleet combine --follow --build ")
    assert project.lines(commit) == ALL_LINES


def test_if_reporting_beside_the_shards_fails_the_next_stage_does_it(project: SmallProject) -> None:
    once = project.folder / "once"
    fails_once = f'[ "$1" != report ] || [ -e {once} ] || {{ touch {once}; exit 1; }}'
    project.write(jenkins=project.before_covfleet(fails_once))
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert [ended.stage(name) for name in ("Combine", "Report")] == ["SKIPPED", "DONE"]
    assert len(ended.facts["tests"]) == len(ended.facts["coverage"]) == 1


def test_without_a_plan_no_shard_waits(project: SmallProject) -> None:
    project.write(jenkins=project.before_covfleet('[ "$1" != plan ] || { sleep 2; exit 2; }'))
    ended = project.build()
    assert ended.result == "FAILURE"
    assert "plan --shards 2 ended with exit code 2" in ended.log
    assert ended.stage("Combine") == "SKIPPED"


def test_one_failed_shard_costs_nothing(project: SmallProject) -> None:
    commit = project.write(jenkins=project.before_covfleet('[ "$1 $2" != "shard 1" ] || exit 6'))
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert "shard 1 failed" in ended.log
    assert project.ledger(commit).verdict == "complete"
    assert project.lines(commit) == ALL_LINES


def test_a_failed_test_makes_the_build_unstable_with_all_reports(project: SmallProject) -> None:
    failing = {"tests/test_wrong.py": "from app import half\n\ndef test_wrong():\n    assert half(2) == 2\n"}
    commit = project.write(TESTS | failing)
    ended = project.build()
    assert ended.result == "UNSTABLE", ended.log
    assert [ended.stage(name) for name in ("Tests", "Gate")] == ["DONE"] * 2
    [tests] = ended.facts["tests"]
    assert tests["total"] == 3
    assert [name.rpartition("::")[2] for name in tests["failed"]] == ["test_wrong"]
    assert len(ended.facts["coverage"]) == 1
    assert project.ledger(commit).verdict == "complete"


def test_what_is_below_the_gate_fails_the_build_and_is_published(project: SmallProject) -> None:
    some = {"tests/test_even.py": TESTS["tests/test_even.py"]}
    site = project.folder / "site"
    project.write(some, gate={"total": 100}, publish={"site": str(site)})
    ended = project.build()
    assert ended.result == "FAILURE"
    assert "gate ended with exit code 4" in ended.log
    assert ended.stage("Publish") == "DONE"
    assert list(site.rglob("coverage.json"))


@pytest.mark.docker
def test_with_containers_the_image_is_built_first_and_every_stage_uses_it(
    project: SmallProject, base_image: str
) -> None:
    needed = {
        name: value for name, value in os.environ.items() if re.match("DOCKER_|PIP_|.*_proxy$", name, re.I)
    }
    project.job.machine.update(needed)
    image = {"base": base_image, "repository": "covfleet-test-jenkins"}
    if bundle := os.environ.get("PIP_CERT"):
        image["ca_bundle"] = bundle
    commit = project.write(covfleet={"executor": "docker", "lease_s": 10.0}, image=image)
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    stages = [stage["name"] for stage in ended.facts["stages"] if stage["status"] == "DONE"]
    assert stages == ["Commit", "Image", "Tests", "Gate"]
    assert project.plan(commit).image == f"covfleet-test-jenkins:{commit}"
    assert project.ledger(commit).verdict == "complete"
    assert project.lines(commit) == ALL_LINES


def test_a_lost_agent_s_shard_runs_again_on_another_and_nothing_is_missing(project: SmallProject) -> None:
    orders = project.job.folder / "build-1" / "kill"
    lost = f"""
        import time
        from pathlib import Path
        from app import half

        def test_that_loses_its_agent_once():
            once = Path({str(project.folder / "once")!r})
            if not once.exists():
                once.touch()
                order = Path({str(orders)!r}, "order")
                order.write_text(str(Path.cwd()))
                order.rename(order.with_suffix(".now"))
                time.sleep(60)
            assert half(8) == 4
        """
    commit = project.write(TESTS | {"tests/test_lost.py": lost})
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert (project.folder / "once").exists()
    attempts = [agent for agent in ended.facts["agents"] if agent["branch"].startswith("shard")]
    assert len(attempts) == len({agent["name"] for agent in attempts}) == 3
    ledger = project.ledger(commit)
    assert (ledger.verdict, ledger.outcomes) == ("complete", {"passed": 3})
    assert project.lines(commit) == ALL_LINES


def test_every_agent_has_the_first_one_s_commit_though_the_branch_moves(project: SmallProject) -> None:
    root = project.root
    who = "-c user.name=x -c user.email=x@x"
    move = f"[ $1 != plan ] || git -C {root} {who} commit --quiet --allow-empty --message Moved"
    commit = project.write(jenkins=project.before_covfleet(move))
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert git(root, "rev-parse", "HEAD") != commit
    assert project.ledger(commit).verdict == "complete"


def test_an_older_commit_is_built_and_a_stage_is_restarted(project: SmallProject) -> None:
    commit = project.write()
    older = project.jenkinsfile()
    project.write(TESTS | {"tests/test_new.py": "def test_new():\n    assert False\n"})
    assert project.job.build(older, COMMIT=commit, REPLAN=True, SHARDS="1").result == "SUCCESS"
    build = project.newest(commit).name
    assert re.fullmatch(r"jenkins-covfleet-1-\d{13}", build)
    project.job.restart = "Combine"
    again = project.job.build(older, COMMIT=commit, REPLAN=True, SHARDS="1")
    assert again.result == "SUCCESS", again.log
    assert again.scripts() == ["covfleet combine", "covfleet report", "covfleet gate"]
    assert project.newest(commit).name == build


def test_a_change_is_known_by_its_own_head_on_every_agent(project: SmallProject) -> None:
    project.write()
    git(project.root, "checkout", "--quiet", "-b", "feature/x")
    head = project.write(TESTS | {"tests/test_more.py": "def test_more():\n    pass\n"})
    git(project.root, "checkout", "--quiet", "main")
    write_project(project.root, {"README": "Meanwhile"})
    target = commit_all(project.root)
    project.job.name, project.job.branch, project.job.base = "team/a job/PR-7", head, target
    project.job.environment = {"BRANCH_NAME": "PR-7", "CHANGE_ID": "7", "CHANGE_TARGET": "main"}
    ended = project.build()
    assert ended.result == "SUCCESS", ended.log
    assert project.ledger(head).verdict == "complete"
    build = project.newest(head).name
    assert build == ended.facts["environment"]["FLEET_BUILD"] == "jenkins-team-a-job-PR-7-1"


@pytest.mark.s3
@pytest.mark.slow
def test_the_sample_goes_through_all_stages_on_six_shards(tmp_path, seaweed, s3_url) -> None:
    root = Path(shutil.copytree(SAMPLE, tmp_path / "trading", ignore=COPIED))
    local = Path(shutil.copytree(SAMPLE, tmp_path / "local", ignore=COPIED))
    ran = start_covfleet("run", "--project", local, log=tmp_path / "local.log")
    assert ran.wait(120) == 0, (tmp_path / "local.log").read_text()

    settings = (root / "pyproject.toml").read_text()
    store = f"[tool.covfleet]\nstore = '{s3_url}'\nendpoint_url = '{seaweed.endpoint_url}'\n"
    more = settings_table(
        publish={"site": f"{s3_url}-site"}, gate={"total": 50}, jenkins={"credentials": "store-keys"}
    )
    (root / "pyproject.toml").write_text(settings.replace("[tool.covfleet]\n", store) + more)
    commit = commit_all(root)

    secrets = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    machine = {name: value for name, value in seaweed.environment.items() if name not in secrets}
    keys = {"access_key": seaweed.access_key, "secret_key": seaweed.secret_key}
    job = Job(tmp_path / "jenkins", root, machine=machine, credentials={"store-keys": keys})
    ended = job.build(jenkinsfile(load_settings(root, {}, {}), root))

    assert ended.result == "SUCCESS", ended.log
    skipped = [stage["name"] for stage in ended.facts["stages"] if stage["status"] != "DONE"]
    assert skipped == ["Combine", "Report"]  # they were done beside the shards
    shards = [agent for agent in ended.facts["agents"] if agent["name"].startswith(f"{SHARD_LABEL}~")]
    assert sorted(agent["branch"] for agent in shards) == [f"shard {number}" for number in range(1, 7)]
    assert {script.split()[0] for script in ended.scripts()} == {"covfleet"}

    remote = open_store(s3_url, Settings(endpoint_url=seaweed.endpoint_url), root)
    remote.download(CommitKeys(commit).combined, tmp_path / "combined")
    assert arcs_by_file(tmp_path / "combined") == arcs_by_file(local / ".covfleet" / ".coverage")
    assert ended.facts["tests"] == [{"total": 135, "failed": []}]
    site = open_store(f"{s3_url}-site", Settings(endpoint_url=seaweed.endpoint_url), root)
    assert any(info.key.endswith("/coverage.json") for info in site.list(""))

    assert ended.facts["masked_lines"] == 0
    for secret in keys.values():
        assert secret not in ended.log
        assert not any(secret in script for script in ended.scripts())


def test_credentials_are_there_only_while_a_command_runs(project: SmallProject) -> None:
    seen = project.folder / "seen"
    look = f'echo "$1 $AWS_ACCESS_KEY_ID" >> {seen}; tr "\\0" "\\n" < /proc/$$/cmdline >> {seen}'
    project.write(jenkins=project.before_covfleet(look) | {"credentials": "k"})
    project.job.credentials = {"k": {"access_key": "known-key", "secret_key": "very-secret"}}
    assert project.build(SHARDS="1").result == "SUCCESS"
    assert "plan known-key\n" in seen.read_text()
    assert "very-secret" not in seen.read_text()


def test_unknown_credentials_fail_the_build(project: SmallProject) -> None:
    project.write(jenkins={"credentials": "nobody-has-it"})
    ended = project.build()
    assert ended.result == "FAILURE"
    assert "Could not find credentials entry with ID 'nobody-has-it'" in ended.log


def test_the_file_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    few, many = (jenkinsfile(Settings(shards=shards), tmp_path) for shards in (6, 200))
    assert few == many.replace("defaultValue: '200'", "defaultValue: '6'")


def test_images_and_sites_have_their_stages_only_where_they_are_used(tmp_path: Path) -> None:
    def stages(**settings: object) -> list[str]:
        text = jenkinsfile(Settings.model_validate(settings), tmp_path)
        return re.findall(r"stage\('(\w+)'\)", text)

    assert stages() == ["Commit", "Tests", "Combine", "Report", "Gate"]
    everything = stages(executor="docker", publish={"site": "s3://site"})
    assert everything == ["Commit", "Image", "Tests", "Combine", "Report", "Gate", "Publish"]


def test_agents_are_asked_for_by_the_labels_of_the_settings(tmp_path: Path) -> None:
    own = Settings.model_validate({"jenkins": {"label": "big", "light_label": "small"}})
    text = jenkinsfile(own, tmp_path)
    assert "node('big')" in text
    assert "agent { label 'small' }" in text
    assert f"'{SHARD_LABEL}'" not in text
    assert f"label '{LIGHT_LABEL}'" not in text


def test_our_own_jenkinsfile_is_what_our_settings_and_templates_give() -> None:
    assert drifts(render(load_settings(ROOT, {}, {}), ROOT), ROOT) == ()

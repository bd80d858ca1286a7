"""The EC2 cloud: the words of each generation of the plugin, limits, and what a new machine runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from covfleet.jenkins.cloud import generation
from covfleet.jenkins.render import render

OLD, RENAMED, NEW = "2.0.6", "1628.v6d7b_fc58b_a_1d", "2059.v05f9d511d7e5"
MACHINE = (
    *(
        "ami",
        "zone",
        "spotConfig",
        "securityGroups",
        "remoteFS",
        "type",
        "ebsOptimized",
        "labelString",
        "mode",
    ),
    *(
        "description",
        "initScript",
        "tmpDir",
        "userData",
        "numExecutors",
        "remoteAdmin",
        "amiType",
        "javaPath",
    ),
    *("jvmopts", "stopOnTerminate", "subnetId", "tags", "idleTerminationMinutes", "minimumNumberOfInstances"),
    *("minimumNumberOfSpareInstances", "instanceCapStr", "iamInstanceProfile", "deleteRootOnTermination"),
    *("useEphemeralDevices", "launchTimeoutStr", "customDeviceMapping", "connectBySSHProcess", "monitoring"),
    *("t2Unlimited", "connectionStrategy", "maxTotalUses", "nodeProperties", "hostKeyVerificationStrategy"),
    *("tenancy", "ebsEncryptRootVolume", "metadataEndpointEnabled", "metadataTokensRequired"),
    *("metadataHopsLimit", "amiOwners", "amiUsers", "amiFilters"),
)
"""What SlaveTemplate's constructor and setters take, in 2.0.6 and 2059 alike."""
CLOUD = (
    *("useInstanceProfileForCredentials", "credentialsId", "region", "privateKey", "sshKeysCredentialsId"),
    *("instanceCapStr", "templates", "roleArn", "roleSessionName", "noDelayProvisioning", "altEC2Endpoint"),
)
"""What AmazonEC2Cloud takes in both, beside its name."""


def cloud(load, project: Path, **flags: object) -> dict[str, Any]:
    """Return the rendered cloud as Configuration as Code reads it."""
    settings = load({f"jenkins.ec2.{key}": value for key, value in flags.items()})
    text = next(file.text for file in render(settings, project) if file.path.endswith("cloud.yaml"))
    assert text
    [found] = yaml.safe_load(text)["jenkins"]["clouds"]
    return found["amazonEC2"]


@pytest.mark.parametrize(
    ("version", "name", "kind", "metal"),
    [
        (OLD, "cloudName", "T3aMicro", "C6gnMetal"),
        ("2.0.7", "cloudName", "T3aMicro", "C6gnMetal"),
        ("1601.v09101155c9a_3", "cloudName", "T3aMicro", "C6gnMetal"),
        (RENAMED, "name", "T3aMicro", "C6gnMetal"),
        ("1881.vc14132ea_f042", "name", "T3aMicro", "C6gnMetal"),
        ("1885.v730b_5c25b_da_e", "name", "t3a.micro", "c6gn.metal"),
        (NEW, "name", "t3a.micro", "c6gn.metal"),
    ],
)
def test_each_generation_of_the_plugin_gets_its_own_words(
    project: Path, load, version: str, name: str, kind: str, metal: str
) -> None:
    made = cloud(load, project, plugin=version, instance_type="t3a.micro", light_instance_type="c6gn.metal")
    assert made[name] == "covfleet"
    assert made.keys() & {"name", "cloudName"} == {name}
    assert [machine["type"] for machine in made["templates"]] == [kind, metal]


@pytest.mark.parametrize(
    ("amazon", "constant"),
    [
        ("m5.large", "M5Large"),
        ("c5.12xlarge", "C512xlarge"),
        ("u-6tb1.112xlarge", "U6tb1112xlarge"),
        ("u-12tb1.metal", "U12tb1Metal"),
        ("x2iedn.metal", "X2iednMetal"),
        ("m7i-flex.2xlarge", "M7iFlex2xlarge"),
    ],
)
def test_types_are_the_constants_of_amazons_first_sdk_for_old_plugins(amazon: str, constant: str) -> None:
    assert generation(OLD).instance_type(amazon) == constant
    assert generation(NEW).instance_type(amazon) == amazon


@pytest.mark.parametrize("version", [OLD, NEW])
def test_only_attributes_that_the_plugin_has_are_used(project: Path, load, version: str) -> None:
    made = cloud(
        load,
        project,
        plugin=version,
        instance_profile="arn:aws:iam::123456789012:instance-profile/covfleet",
        security_groups=["sg-0123456789abcdef0", "agents"],
        subnet="subnet-0123456789abcdef0",
        credentials="aws",
    )
    assert made.keys() - {"name", "cloudName"} <= set(CLOUD)
    for machine in made["templates"]:
        assert machine.keys() <= set(MACHINE)
        assert machine["amiType"]["unixData"].keys() <= {
            *("rootCommandPrefix", "slaveCommandPrefix", "slaveCommandSuffix", "sshPort", "bootDelay")
        }
        assert machine["securityGroups"] == "sg-0123456789abcdef0,agents"


def test_the_plugins_version_stands_in_the_file(project: Path, load) -> None:
    text = next(
        file.text for file in render(load({"jenkins.ec2.plugin": OLD}), project) if "cloud" in file.path
    )
    assert text
    assert f"the ec2 plugin {OLD}" in text.splitlines()[1]


def test_numbers_that_the_plugin_takes_as_text_and_words_that_yaml_reads_otherwise_are_quoted(
    project: Path, load
) -> None:
    """Unquoted, YAML 1.1 makes ``OFF`` false."""
    made = cloud(load, project, host_key_check="OFF")
    shards, light = made["templates"]
    assert (shards["hostKeyVerificationStrategy"], light["hostKeyVerificationStrategy"]) == ("OFF", "OFF")
    for key in ("instanceCapStr", "numExecutors", "idleTerminationMinutes", "launchTimeoutStr"):
        assert isinstance(shards[key], str), key
    assert isinstance(made["instanceCapStr"], str)


def test_as_many_machines_as_shards_and_a_few_light_ones(project: Path, load) -> None:
    made = cloud(load, project, light_cap=2)
    shards, light = made["templates"]
    assert (shards["instanceCapStr"], light["instanceCapStr"], made["instanceCapStr"]) == ("3", "2", "5")
    assert (shards["labelString"], light["labelString"]) == ("covfleet-shard", "covfleet")


def test_builds_without_a_label_find_an_agent(project: Path, load) -> None:
    """With EXCLUSIVE everywhere they would wait for ever."""
    assert [machine["mode"] for machine in cloud(load, project)["templates"]] == ["EXCLUSIVE", "NORMAL"]


@pytest.mark.parametrize("spot", [True, False])
def test_shards_run_on_spot_with_on_demand_behind_it_and_the_rest_always_on_demand(
    project: Path, load, *, spot: bool
) -> None:
    shards, light = cloud(load, project, spot=spot)["templates"]
    expected = {"useBidPrice": False, "fallbackToOndemand": True} if spot else None
    assert shards.get("spotConfig") == expected
    assert "spotConfig" not in light


def test_machines_end_when_idle_and_keep_their_rights_to_themselves(project: Path, load) -> None:
    profile = "arn:aws:iam::123456789012:instance-profile/covfleet"
    for machine in cloud(load, project, idle_min=7, instance_profile=profile)["templates"]:
        assert machine["idleTerminationMinutes"] == "7"
        assert machine["stopOnTerminate"] is False
        assert machine["iamInstanceProfile"] == profile
        assert machine["metadataEndpointEnabled"] is True
        assert machine["metadataTokensRequired"] is True
        assert machine["metadataHopsLimit"] == 1


def test_the_controllers_rights_are_its_instance_profile_or_credentials_by_id(project: Path, load) -> None:
    made = cloud(load, project)
    assert made["useInstanceProfileForCredentials"] is True
    assert "credentialsId" not in made
    made = cloud(load, project, credentials="aws-launch")
    assert (made["useInstanceProfileForCredentials"], made["credentialsId"]) == (False, "aws-launch")


def test_nothing_in_the_file_is_expanded_by_configuration_as_code(project: Path, load) -> None:
    own = project / "templates" / "jenkins"
    own.mkdir(parents=True)
    (own / "user-data.sh.j2").write_text('#!/bin/sh\n# {{ header }}\necho "${HOME:-none}" ${SECRET}\n')
    text = next(file.text for file in render(load(), project) if "cloud" in file.path)
    assert text
    assert text.count("^${") == text.count("${") == 4
    assert "user-data.sh.j2 and [tool.covfleet].\n              echo" in text


def user_data(load, project: Path, **flags: object) -> str:
    """Return what a machine gets: Configuration as Code takes the ``^`` away."""
    script: str = cloud(load, project, **flags)["templates"][0]["userData"]
    return script.replace("^${", "${")


@pytest.mark.parametrize("family", ["dnf", "apt-get"])
def test_a_new_machine_installs_docker_git_java_and_covfleet(
    project: Path, load, tmp_path: Path, family: str
) -> None:
    """The real script, with programs that note how they are called, and of which pip fails once."""
    bin_, log = tmp_path / "bin", tmp_path / "log"
    bin_.mkdir()
    script = user_data(load, project, remote_user="admin", requirement="covfleet==0.1.0")
    script = script.replace("/opt/", f"{tmp_path}/opt/").replace("/usr/local/bin", str(bin_))
    note = f'#!/bin/sh\necho "${{0##*/}} $*" >> {log}\n'
    for name in (family, "systemctl", "usermod"):
        program(bin_ / name, note)
    program(bin_ / "sleep", "#!/bin/sh\n")
    failing = f"{note}test -e {tmp_path}/failed || {{ touch {tmp_path}/failed; exit 1; }}\n"
    venv = (
        f'case "${{3:-}}" in {tmp_path}/*) ;; *) exit 9 ;; esac\n'  # never into the machine's own folders
        f"mkdir -p $3/bin\ncat > $3/bin/pip <<'END'\n{failing}END\n"
        f"cat > $3/bin/covfleet <<'END'\n{note}END\nchmod +x $3/bin/*\n"
    )
    for name in ("python3", "python3.11"):
        program(bin_ / name, note + venv)
    for name in ("bash", "sh", "mkdir", "cat", "cp", "chmod", "ln", "touch", "env"):
        (bin_ / name).symlink_to(shutil.which(name) or name)
    ran = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": str(bin_)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = log.read_text().splitlines()
    install = next(line for line in said if line.startswith(f"{family} install"))
    assert "docker" in install
    assert "git" in install
    assert "17" in install
    assert "usermod --append --groups docker admin" in said
    assert "systemctl enable --now docker" in said
    assert sum(line.startswith("pip install") and line.endswith("covfleet==0.1.0") for line in said) == 2
    assert said[-1].endswith("--version")
    assert (bin_ / "covfleet").readlink() == tmp_path / "opt/covfleet/bin/covfleet"


def test_what_a_new_machine_runs_is_sound_shell(project: Path, load) -> None:
    ran = subprocess.run(
        ["shellcheck", "--shell=bash", "-"],
        input=user_data(load, project),
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


def test_a_machine_that_cannot_install_fails_instead_of_running_without(
    project: Path, load, tmp_path: Path
) -> None:
    """cloud-init then says so to the init script, and the agent isn't started."""
    for name in ("dnf", "sleep"):
        program(tmp_path / name, f"#!/bin/sh\n[ {name} = sleep ]\n")
    ran = subprocess.run(
        ["bash", "-c", user_data(load, project)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode != 0
    assert "giving up: dnf install" in ran.stderr
    assert cloud(load, project)["templates"][0]["initScript"] == "cloud-init status --wait --long"


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)

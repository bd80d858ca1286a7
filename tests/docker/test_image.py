"""The image stage on a real engine: what is built, when it is built again, and what goes wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from covfleet.adapters.docker.engine import DockerEngine, follow, split_reference
from covfleet.adapters.docker.worker import DockerLauncher
from covfleet.errors import ConfigurationError, EngineError
from covfleet.image.stage import ensure_image
from covfleet.model import Checkout, ImageRef
from covfleet.settings.schema import ImageSettings
from support.containers import Launch
from support.needs import missing

pytestmark = pytest.mark.docker

Build = Callable[..., ImageRef]


@pytest.fixture
def project(tmp_path: Path, base_image: str) -> Path:
    """A project whose own Dockerfile copies everything."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        f"FROM {base_image}\nARG GREETING=none\nCOPY . /app\nRUN echo $GREETING\n"
    )
    (folder / "code.py").write_text("answer = 42\n")
    return folder


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def build(engine: DockerEngine, project: Path, name: str, log: list[str]) -> Build:
    """Run the stage with the project's Dockerfile: ``build(push=True, ...)``."""

    def run(commit: str = "c0ffee", *, rebuild: bool = False, **settings: object) -> ImageRef:
        chosen = ImageSettings.model_validate({"repository": name, "dockerfile": "Dockerfile", **settings})
        checkout = Checkout(str(project), commit, "feature/ä", ())
        return ensure_image(engine, chosen, project, checkout, "b-17", rebuild=rebuild, on_log=log.append)

    return run


def files_in(client: docker.APIClient, image: ImageRef, folder: str = "/app") -> list[str]:
    """Return the paths below a folder of the image."""
    container = client.create_container(
        image.reference, ["find", folder, "-mindepth", "1", "-printf", "%P\\n"]
    )
    client.start(container)
    client.wait(container)
    found = client.logs(container).decode().splitlines()
    client.remove_container(container)
    return sorted(found)


def test_without_an_engine_nothing_is_built(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, build: Build
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(EngineError, match=r"no answer from the engine at tcp://127\.0\.0\.1:1") as raised:
        build()
    assert "systemctl start docker" in raised.value.hint
    with pytest.raises(EngineError, match="connect to the Docker engine"):
        engine.ping()


@pytest.mark.parametrize("setting", ["dockerfile", "context", "ca_bundle"])
def test_a_path_that_does_not_exist_is_named_with_its_setting(build: Build, setting: str) -> None:
    with pytest.raises(ConfigurationError, match="absent") as raised:
        build(**{setting: "absent"})
    assert f"image.{setting}" in raised.value.hint


def test_a_base_image_that_is_not_there_is_named(build: Build, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM 127.0.0.1:1/base:1\n")
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:1/base:1|127\.0\.0\.1:1/v2") as raised:
        build()
    assert "image.base" in raised.value.hint


def test_a_step_that_fails_ends_with_the_last_lines_of_the_log(
    build: Build, project: Path, log: list[str], base_image: str
) -> None:
    (project / "Dockerfile").write_text(
        f"FROM {base_image}\nRUN seq 1 50; sleep 0.3; echo to stderr >&2; exit 3\n"
    )
    with pytest.raises(EngineError) as raised:
        build()
    message = str(raised.value)
    assert "returned a non-zero code: 3" in message
    assert "  to stderr" in message
    assert message.count("\n") == 20
    assert "1" in log


def test_a_dockerfile_that_makes_no_sense_is_an_error(build: Build, project: Path) -> None:
    (project / "Dockerfile").write_text("FORM nothing\n")
    with pytest.raises(EngineError, match="FORM"):
        build()


def test_a_name_that_docker_cannot_use_is_an_error(build: Build) -> None:
    with pytest.raises(EngineError, match="invalid reference format"):
        build(repository="Capital Letters")


def test_a_commit_that_cannot_be_a_tag_is_refused(build: Build) -> None:
    with pytest.raises(ConfigurationError, match="isn't a valid image tag"):
        build("../../etc")


def test_an_image_is_named_and_labelled_after_its_commit(
    build: Build, client: docker.APIClient, name: str
) -> None:
    image = build(build_args={"GREETING": "hello"})
    found = client.inspect_image(f"{name}:c0ffee")
    assert image == ImageRef(f"{name}:c0ffee", found["Id"], reused=False)
    labels = found["Config"]["Labels"]
    assert (labels["covfleet.commit"], labels["covfleet.branch"]) == ("c0ffee", "feature/ä")
    assert labels["covfleet.build"] == "b-17"


def test_the_log_comes_line_by_line(build: Build, log: list[str]) -> None:
    build(build_args={"GREETING": "hello"})
    assert "hello" in log
    assert any(line.startswith("Step 1/") for line in log)
    assert not [line for line in log if not line.strip() or "\n" in line or "\x1b" in line]


def test_dockerignore_is_honoured_and_covfleet_s_own_files_stay_out(
    build: Build, project: Path, client: docker.APIClient
) -> None:
    for path in ["a.log", "sub/b.log", "sub/keep.log", ".covfleet/store/data", "secret/key", "file name"]:
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
    (project / ".dockerignore").write_text("# comment\n**/*.log\n!sub/keep.log\n\nsecret\nDockerfile\n")
    assert files_in(client, build()) == ["code.py", "file name", "sub", "sub/keep.log"]


def test_the_dockerfile_may_lie_outside_the_context(
    build: Build, project: Path, client: docker.APIClient
) -> None:
    (project / "src").mkdir()
    (project / "src/inner.py").touch()
    assert files_in(client, build(context="src")) == ["inner.py"]


def test_an_image_is_reused_until_something_that_goes_into_it_changes(
    build: Build, project: Path, log: list[str], base_image: str
) -> None:
    (project / ".dockerignore").write_text("notes\n")
    code = project / "code.py"
    changes: list[Callable[[], object]] = [
        lambda: code.write_text("answer = 43\n"),
        lambda: code.chmod(0o755),
        lambda: code.rename(project / "renamed.py"),
        lambda: (project / "link").symlink_to("renamed.py"),
        (project / "empty").mkdir,
        lambda: (project / "Dockerfile").write_text(f"FROM {base_image}\nCOPY . /app\n"),
    ]
    first = build()
    for change in changes:
        change()
        assert not build().reused
        assert build().reused
    (project / "notes").write_text("not part of it")
    log.clear()
    again = build()
    assert again.reused
    assert again.digest != first.digest
    assert log == []
    assert not build(build_args={"GREETING": "new"}).reused
    assert not build(build_args={"GREETING": "new"}, rebuild=True).reused


def test_an_unreadable_file_is_named(build: Build, project: Path) -> None:
    (project / "Dockerfile").write_bytes(b"FROM \xff\n")
    with pytest.raises(ConfigurationError, match="Dockerfile"):
        build()


def test_the_ca_bundle_reaches_the_build_and_never_the_image(
    build: Build,
    project: Path,
    client: docker.APIClient,
    base_image: str,
    name: str,
    tmp_path: Path,
    log: list[str],
) -> None:
    marker = f"marker of {name}"
    (tmp_path / "ca.pem").write_text(f"# {marker}\n")
    (project / "Dockerfile").write_text(f"""
ARG CA_IMAGE={base_image}
FROM ${{CA_IMAGE}} AS ca
FROM {base_image} AS build
ARG PIP_CERT
COPY --from=ca /tmp /covfleet-ca
RUN grep marker $PIP_CERT && date > /built
FROM scratch
COPY --from=build /built /built
""")
    image = build(ca_bundle=tmp_path / "ca.pem")
    assert f"# {marker}" in log
    everything = b"".join(client.get_image(image.reference))
    assert b"PIP_CERT" not in everything
    assert marker.encode() not in everything
    assert b"covfleet-ca" not in everything
    assert not client.images("covfleet-ca")
    log.clear()
    build(ca_bundle=tmp_path / "ca.pem", rebuild=True)
    assert f"# {marker}" not in log  # from the cache, although the bundle came in an image of another name


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A project without a Dockerfile: a package, a requirement, a dependency group, a test."""
    folder = tmp_path / "small"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop/__init__.py").write_text("price = 3\n")
    (folder / "test_shop.py").write_text("import iniconfig, shop, six\ndef test(): assert shop.price == 3\n")
    (folder / "requirements.txt").write_text("-e .\nsix\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "shop"\nversion = "1"\ndependencies = ["six; python_version > \'3\'"]\n'
        '[dependency-groups]\ntest = ["iniconfig"]\n[tool.setuptools]\npackages = ["shop"]\n'
    )
    (folder / "test_shop.py").chmod(0o600)  # the image's user is not ours
    (folder / ".git").mkdir()
    return folder


@pytest.mark.slow
def test_the_default_dockerfile_makes_an_image_that_runs_the_tests(
    engine: DockerEngine,
    client: docker.APIClient,
    base_image: str,
    small_project: Path,
    name: str,
    log: list[str],
    launch: Launch,
    launcher: DockerLauncher,
) -> None:
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.exists():
        missing("the machine's CA bundle", "apt-get install ca-certificates")
    settings = ImageSettings(repository=name, base=base_image, ca_bundle=bundle)
    checkout = Checkout(str(small_project), "1", "main", ())
    first = ensure_image(engine, settings, small_project, checkout, "1", rebuild=False, on_log=log.append)
    assert ".git" not in files_in(client, first)

    puppet = launch(replace(launcher, image=first.reference, python="python"))
    run = (
        "subprocess.run(['python', '-m', 'pytest', '-p', 'no:cacheprovider'], capture_output=True, text=True)"
    )
    assert "1 passed" in puppet.ask(f"{run}.stdout")
    assert puppet.ask("__import__('shop').__file__") == "/app/shop/__init__.py"

    (small_project / "shop/__init__.py").write_text("price = 4\n")
    checkout = replace(checkout, commit="2")
    second = ensure_image(engine, settings, small_project, checkout, "2", rebuild=False, on_log=log.append)
    layers = [client.inspect_image(image.reference)["RootFS"]["Layers"] for image in (first, second)]
    assert layers[0][:-1] == layers[1][:-1]  # only the sources' layer differs, not the packages'
    assert layers[0] != layers[1]


def test_a_missing_image_has_no_labels(engine: DockerEngine) -> None:
    assert engine.find_image("covfleet-absent:1") is None
    with pytest.raises(EngineError, match="no image covfleet-absent:1"):
        engine.image_labels("covfleet-absent:1")


def test_the_engine_tells_its_version(engine: DockerEngine) -> None:
    version = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], check=True, capture_output=True, text=True
    )
    assert engine.ping() == version.stdout.strip()


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("app:1", ("app", "1")),
        ("app", ("app", "latest")),
        ("host:5000/app", ("host:5000/app", "latest")),
        ("host:5000/team/app:1", ("host:5000/team/app", "1")),
    ],
)
def test_a_reference_is_split_at_its_tag(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


def test_of_the_engine_s_events_the_progress_of_layers_is_left_out() -> None:
    lines: list[str] = []
    events = [
        {"stream": "\x1b[91mred\x1b[0m\r\nnext\n"},
        {"status": "Pushing", "id": "l1", "progress": "[=>  ]"},
        {"status": "Pushed", "id": "l1"},
        {"aux": {"ID": "sha256:1"}},
        {"error": "boom"},
    ]
    assert follow(events, lines.append) == "boom"
    assert lines == ["red", "next", "l1: Pushed"]

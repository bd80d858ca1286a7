"""Decide what ``covfleet jenkins apply`` changes: compare settings and templates with the controller."""

from __future__ import annotations

from pathlib import Path

from covfleet.jenkins.apply import Changes, Rules, decide, look, wanted
from covfleet.jenkins.jobs import definitions
from covfleet.jenkins.render import JENKINSFILE, render
from covfleet.jenkins.requirements import least_versions, plugins_of_steps
from covfleet.ports.controller import Controller
from covfleet.settings.schema import Settings


def decide_changes(
    settings: Settings, project: Path, controller: Controller, adopt: tuple[str, ...] = ()
) -> Changes:
    """Compare the jobs and views of the settings and the project's templates with the controller's.

    Raises:
        ConfigurationError: the settings or a template are wrong.
        JenkinsError: the controller doesn't answer or refuses.
    """
    owner = settings.jenkins.repository
    items = wanted(definitions(settings, project), owner)
    steps: tuple[tuple[str, str], ...] = ()
    if "pipeline" in settings.jenkins.drivers:
        files = {file.path: file.text or "" for file in render(settings, project)}
        steps = plugins_of_steps(files[JENKINSFILE], settings.jenkins)
    rules = Rules(owner, least_versions(settings.jenkins), steps, adopt)
    return decide(items, look(controller, items), rules)

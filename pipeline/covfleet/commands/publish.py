"""``covfleet publish``: add a build's reports to a static site."""

from __future__ import annotations

import json

import click

from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.errors import ConfigurationError
from covfleet.publish.stage import publish_build
from covfleet.text import counted


@options.command(
    "publish",
    "commit",
    "build",
    "site",
    "allow_partial",
    "dry_run",
    "as_json",
    examples=(
        (
            "covfleet publish --site /srv/coverage",
            "Publish the newest build of this folder's commit to a folder.",
        ),
        (
            "covfleet publish --site s3://coverage-site --commit $SHA --build $BUILD_NUMBER",
            "Publish any build to a bucket.",
        ),
    ),
)
def command(call: Call) -> None:
    """Publish a build's reports to the site, and point its branch to them.

    Visitors see either the old pages or the new ones, never a mixture. An older build never replaces a newer
    one.
    """
    session = Session(call)
    url = session.settings.publish.site
    if not url:
        raise ConfigurationError(
            "there is no site to publish to", hint="Set it with --site or COVFLEET_PUBLISH__SITE."
        )
    build = session.known_build()
    manifest, _ = build.reported()
    if call.dry_run:
        files = counted(len(manifest.files), "file")
        click.echo(f"would publish {files} of build {build.name} ({manifest.branch}) to {url}")
        return
    address = publish_build(
        build,
        session.open(url),
        branch=manifest.branch,
        workers=session.settings.s3.connections,
        allow_partial=call.allow_partial,
    )
    click.echo(
        json.dumps({"version": 1, "build": build.name, "url": address}, indent=2) if call.as_json else address
    )

"""``covfleet image``: build the application's image and tag it with the commit."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.image.stage import build_request, ensure_image


@options.command(
    "image",
    "commit",
    "build",
    "branch",
    "image_base",
    "dry_run",
    "as_json",
    examples=(
        ("covfleet image", "Build the project's image, unless one with the same content exists."),
        ("covfleet image --image-base python:3.13-slim", "With another base for the default Dockerfile."),
        (
            "COVFLEET_IMAGE__PUSH=true covfleet image",
            "Push it, too; if the registry already has it, pull it instead of building.",
        ),
    ),
)
@click.option("--rebuild", is_flag=True, help="Build even if nothing has changed.")
def command(call: Call, *, rebuild: bool) -> None:
    """Build the application's image from its Dockerfile, or from covfleet's default one.

    The tag is the commit; labels record commit, branch and build. The build log goes to standard error.
    """
    session = Session(call)
    settings, checkout = session.settings.image, session.checkout
    build = call.build or ""
    if call.dry_run:
        request = build_request(settings, session.project, checkout, build)
        click.echo(f"would build {request.reference} from {request.dockerfile} and {request.context}")
        return
    image = ensure_image(
        session.engine, settings, session.project, checkout, build, rebuild=rebuild, on_log=session.narrate
    )
    if call.as_json:
        click.echo(json.dumps({"version": 1, **asdict(image)}, indent=2))
    else:
        click.echo(f"{image.reference} {image.digest}{' (nothing changed)' if image.reused else ''}")

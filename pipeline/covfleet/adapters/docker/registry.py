"""Credentials for Amazon's container registries, which expire too soon for the Docker configuration file."""

from __future__ import annotations

import base64
import re

from covfleet.errors import EngineError

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?", re.ASCII
)


def ecr_login(repository: str) -> dict[str, str] | None:
    """Return user name and password for an ECR repository, or ``None`` for any other registry.

    A token is valid for twelve hours. Credentials and endpoint come from boto3's own chain.

    Raises:
        EngineError: AWS issues no token.
    """
    registry = repository.partition("/")[0]
    match = _ECR.fullmatch(registry)
    if not match:
        return None
    import boto3  # noqa: PLC0415 - only ECR needs AWS's SDK
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        client = boto3.client("ecr", region_name=match["region"])
        answer = client.get_authorization_token(registryIds=[match["account"]])
    except (BotoCoreError, ClientError) as error:
        raise EngineError(
            f"AWS issued no token for the registry {registry}: {error}",
            hint="Check this machine's AWS credentials; they need ecr:GetAuthorizationToken.",
        ) from error
    token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    user, _, password = token.partition(":")
    return {"username": user, "password": password}

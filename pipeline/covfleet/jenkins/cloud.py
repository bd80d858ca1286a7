"""The machines of the agents: Configuration as Code for the ec2 plugin, in the terms of its version."""

from __future__ import annotations

import re
from dataclasses import dataclass

from covfleet.jenkins.templates import Templates
from covfleet.settings.schema import Settings

_NAMED_SINCE = 1628  # 1628.v6d7b_fc58b_a_1d (2023-09): `cloudName` became `name`
_TYPES_AS_AMAZON_SINCE = 1885  # 1885.v730b_5c25b_da_e (2025-03): `T3Micro` became `t3.micro`
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Generation:
    """The terms of a version of the ec2 plugin."""

    cloud_has_name: bool
    types_as_amazon: bool

    def instance_type(self, name: str) -> str:
        """Return ``m5.large`` or, for old versions, the constant in Amazon's first SDK for Java: ``M5Large``.

        The rule, with every type of that time, is in the plugin's own ``InstanceTypeCompat``.
        """
        if self.types_as_amazon:
            return name
        return "".join(part[0].upper() + part[1:] for part in re.split(r"[.-]", name))


def generation(version: str) -> Generation:
    """Return the terms of that version of the plugin.

    Versions up to 2.0.7 are followed by versions that start with a growing number: 1601.v09101155c9a_3.
    """
    number = int(version.partition(".")[0])
    return Generation(number >= _NAMED_SINCE, number >= _TYPES_AS_AMAZON_SINCE)


def cloud_yaml(settings: Settings, templates: Templates) -> str:
    """Return the cloud as Configuration as Code; the settings must name an AMI.

    Raises:
        ConfigurationError: a template can't be rendered.
    """
    ec2 = settings.jenkins.ec2
    named = generation(ec2.plugin)
    home = "/root" if ec2.remote_user == "root" else f"/home/{ec2.remote_user}"
    return templates.render(
        "cloud.yaml.j2",
        ec2=ec2,
        generation=named,
        shard_type=named.instance_type(ec2.instance_type),
        light_type=named.instance_type(ec2.light_instance_type),
        home=home,
        path=_PATH,
        user_data=templates.render("user-data.sh.j2", ec2=ec2),
    )

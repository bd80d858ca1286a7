"""What each ``--json`` prints: a stored document, or an object with these keys. The tests compare both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from covfleet.byhand.builds import BuildSummary
from covfleet.byhand.fetch import Fetched
from covfleet.doctor.checks import Check
from covfleet.doctor.cost import CoreCost
from covfleet.jenkins.lint import Finding
from covfleet.jenkins.status import BuildRow
from covfleet.model import GateRule, Heartbeat, ImageRef, Ledger, Plan, Totals


@dataclass(frozen=True, slots=True)
class Form:
    """A command's JSON: ``document`` if it prints one as it is stored, else ``keys`` with their meanings."""

    command: str
    document: type | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    types: tuple[type, ...] = ()  # dataclasses that the keys' meanings link to
    note: str = ""


def _link(kind: type) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


_VERSION = {"version": "`1`"}

_FIGURES = {
    **_VERSION,
    "commit": "The commit's name in the store.",
    "build": "The build's id; empty for a folder that other tools filled.",
    "branch": "The branch of the build.",
    "verdict": "`complete`, `partial`, `conflicting` or `unverified`.",
    "total_percent": "Text: total coverage, rounded down to two decimals.",
    "line_percent": "Text: executed statements, rounded down to two decimals.",
    "branch_percent": "Text: taken branches, rounded down to two decimals.",
    "totals": f"{_link(Totals)}: the counts behind these figures.",
    "tests_planned": "How many tests were planned.",
    "outcomes": "Object: outcome → number of tests.",
    "failures": "List of the ids of failed tests.",
}

_REQUEST = {
    **_VERSION,
    "job": "The full name of the Jenkins job.",
    "request": "The id by which `covfleet jenkins follow` finds the build again.",
    "queue_item": "The number of the item in Jenkins' queue.",
}

_WATCHED = {
    **_REQUEST,
    "build": "The number of the Jenkins build.",
    "result": "How Jenkins says that it ended.",
    "url": "The build's page.",
    "verdict": "The ledger's verdict; null if the store holds none.",
    "total_percent": "Text: total coverage; null if the store holds no report.",
}

FORMS = (
    Form(
        "run",
        keys={
            **_FIGURES,
            "reports": "The folder of the reports.",
            "site": "Where they were published, or empty.",
        },
        types=(Totals,),
    ),
    Form("image", keys={**_VERSION, "…": f"the keys of {_link(ImageRef)}"}, types=(ImageRef,)),
    Form("plan", document=Plan),
    Form("shard", document=Heartbeat),
    Form("combine", document=Ledger),
    Form("report", keys=_FIGURES, types=(Totals,)),
    Form("gate", keys={**_VERSION, "rules": f"List of {_link(GateRule)}."}, types=(GateRule,)),
    Form(
        "publish",
        keys={**_VERSION, "build": "The build that was published.", "url": "The address of its reports."},
    ),
    Form(
        "builds",
        keys={
            **_VERSION,
            "commit": "The commit's name in the store.",
            "builds": f"List of {_link(BuildSummary)}, newest first, each with `complete`: "
            "whether every batch has a result.",
        },
        types=(BuildSummary,),
    ),
    Form(
        "recombine",
        keys={
            **_FIGURES,
            "output": "The folder of `--output`, or empty.",
            "site": "Where the reports were published, or empty.",
            "data_changed": "Whether the combined data differs from what was there before.",
            "reports_changed": "Whether a report differs from what was there before.",
        },
        types=(Totals,),
    ),
    Form(
        "fetch",
        keys={
            **_VERSION,
            "commit": "The commit's name in the store.",
            "build": "The build that was taken; empty for a folder that other tools filled.",
            "folder": "Where the data files lie now.",
            "…": f"the keys of {_link(Fetched)}",
        },
        types=(Fetched,),
    ),
    Form(
        "jenkins lint",
        keys={
            **_VERSION,
            "file": "The Jenkinsfile that was checked.",
            "checked_by": "The controller's address, or the parser's name.",
            "findings": f"List of {_link(Finding)}.",
        },
        types=(Finding,),
    ),
    Form(
        "jenkins apply",
        keys={
            **_VERSION,
            "operations": "List of objects: `action` (`create`, `update` or `unchanged`), `kind`, `name`, "
            "`why` and `diff`.",
            "refusals": "List of the reasons why nothing may be written.",
        },
    ),
    Form(
        "jenkins run",
        keys=_REQUEST,
        note="With `--follow` or `--console` it prints what `covfleet jenkins follow` does.",
    ),
    Form("jenkins follow", keys=_WATCHED),
    Form(
        "jenkins status",
        keys={
            **_VERSION,
            "job": "The full name of the Jenkins job.",
            "builds": f"List of {_link(BuildRow)}, newest first.",
        },
        types=(BuildRow,),
    ),
    Form(
        "doctor",
        keys={
            **_VERSION,
            "exit_code": "What the command ends with.",
            "checks": f"List of {_link(Check)}.",
            "measured": "Only with `--measure`: the size of the sample, `cores` "
            f"(a list of {_link(CoreCost)}), and the line-context pairs on which the cores differ.",
        },
        types=(Check, CoreCost),
    ),
)

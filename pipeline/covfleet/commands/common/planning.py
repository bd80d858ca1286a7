"""Make a plan and print it: shared by ``covfleet plan`` and ``covfleet run --dry-run``."""

from __future__ import annotations

import click

from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.model import Plan
from covfleet.plan.request import PlanRequest
from covfleet.plan.stage import make_plan, plan_build
from covfleet.store.encoding import to_json
from covfleet.text import counted


def show_plan(call: Call) -> None:
    """Make a plan, store it except in a dry run, and print it."""
    session = Session(call)
    build = session.new_build()
    image = session.image(build.name)
    request = PlanRequest(
        build=build,
        checkout=session.checkout,
        launcher=session.launcher(image.reference if image else ""),
        settings=session.settings,
        image=image,
        clock=session.clock,
        narrate=session.narrate,
    )
    plan = make_plan(request) if call.dry_run else plan_build(request)
    click.echo(to_json(plan).decode() if call.as_json else _described(plan), nl=not call.as_json)


def _described(plan: Plan) -> str:
    batches = {batch.id: batch for batch in plan.batches}
    lines = [
        f"build   {plan.build}",
        f"commit  {plan.commit} ({plan.branch})",
        f"python  {plan.environment.python}, {plan.environment.executable}",
        f"python  {plan.environment.python}, {plan.environment.executable}",
        f"tests   {len(plan.tests):,} in {counted(len(plan.batches), 'batch')}",
        "",
        "shard  batches  tests  expected",
    ]
    for shard, deal in enumerate(plan.deals, 1):
        tests = sum(len(batches[batch].tests) for batch in deal)
        expected_s = sum(batches[batch].expected_s for batch in deal)
        lines.append(f"{shard:>5}  {len(deal):>7}  {tests:>5}  {expected_s:>6.1f} s")
    return "\n".join(lines)

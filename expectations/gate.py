"""gate: hold what is staged to its checks before any of it is live (write, audit, publish).

A failing row goes to quarantine with the names of the checks that it failed; a failing table stops the publish. What
was found stays as a verdict beside the staged batch, and as Data Docs. Great Expectations and Spark are imported only
where there is something to judge: that takes seconds.
"""

from __future__ import annotations

from spark_jobs.context import Context, StepResult
from spark_jobs.staged import read_staged


def run(ctx: Context) -> StepResult:
    """Gate a silo's staged batch. Books: rows staged = rows that pass + quarantined, a table each.

    Raises GateFailedError where a check stops the publish; verdict, Data Docs and quarantine are written by then.
    """
    folder = ctx.lake.staging("phi", ctx.scope)
    staged = {name: table for name, table in read_staged(folder).items() if table.rows}
    if not staged:
        return StepResult([], {"batch": None, "checks": []})
    from expectations.silo import gate_silo

    return gate_silo(ctx, folder, staged)


def run_gold(ctx: Context) -> StepResult:
    """Gate the staged tables of gold; a failing one stops the publish, and no row is quarantined.

    Rows of gold are made from gated rows, so that one that fails is a fault of a table's declaration, not of a source.
    """
    folder = ctx.lake.staging("research", "gold")
    staged = read_staged(folder)
    if not staged:
        return StepResult([], {"batch": None, "checks": []})
    from expectations.gold import gate_gold

    return gate_gold(ctx, folder, staged)

"""qinsight doctor: what there is to work with, what will go wrong, and what to do about it."""

from __future__ import annotations

import typer

from qinsight_cli.commands.console import say, waiting, write, write_beside

TRAPPED = 1


def doctor() -> None:
    """Show versions, devices, memory, models, datasets, extras and known traps, each with what to do.

    Ends with exit code 1 when something is sure to go wrong. Nothing is fetched from a network.
    """
    from qinsight_cli.core.report.doctor import examine

    with waiting("looking"):
        findings = list(examine())
    width = max(len(finding.name) for finding in findings)
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            write(section)
        mark = "!" if finding.trap else " "
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        write_beside(f"{mark} {finding.name:{width}}  ", f"{finding.state}{remedy}")
    found = sum(finding.trap for finding in findings)
    say("nothing wrong" if not found else f"{found} to put right, marked with !")
    if found:
        raise typer.Exit(TRAPPED)

"""qinsight doctor: versions, devices, models and data, what will fail, and how to fix it."""

from __future__ import annotations

import typer

from qinsight_cli.commands.console import counted, say, waiting, write, write_beside

PROBLEMS = 1  # the exit code


def doctor() -> None:
    """Show versions, devices, memory, models, datasets, extras and known problems, and how to fix them.

    The exit code is 1 if something will certainly fail. It uses no network.
    """
    from qinsight_cli.core.report.doctor import examine

    with waiting("examining"):
        findings = list(examine())
    width = max(len(finding.name) for _, finding in findings)
    current = ""
    for section, finding in findings:
        if section != current:
            current = section
            write(section)
        mark = "!" if finding.trap else " "
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        write_beside(f"{mark} {finding.name:{width}}  ", f"{finding.state}{remedy}")
    found = sum(finding.trap for _, finding in findings)
    say(f"{counted(found, 'problem')}, marked with !" if found else "no problems")
    if found:
        raise typer.Exit(PROBLEMS)

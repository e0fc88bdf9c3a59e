"""A gate's report for build servers: markdown and JUnit XML."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from prefbench.boards.gate_report import GateReport, row_name
from prefbench.store.files import write_atomically
from prefbench.text import one_line


def summary_markdown(report: GateReport) -> str:
    """The report as GitHub-flavoured markdown; names and options cannot break out of the table."""
    signs = {"held": "held", "fell": "**fell**", "cannot tell": "cannot tell"}
    lines = [f"### prefbench gate: {escaped(report.sum)}", ""]
    if report.undecided is not None:
        lines += [escaped(report.undecided), ""]
    lines += [
        "| verdict | row | metric | baseline | now | drop | margin | p (Holm) | prompts that would tell |",
        "|---|---|---|---:|---:|---|---:|---:|---:|",
    ]
    for row in report.rows:
        test = row.test
        cells = [
            signs[row.verdict],
            escaped(row_name(row.key)),
            escaped(row.check.metric),
            "" if row.old is None else f"{row.old:.3f}",
            "" if row.new is None else f"{row.new:.3f}",
            "" if test is None else f"{test.drop:+.3f} [{test.low:+.3f}, {test.high:+.3f}]",
            f"{row.check.margin:g}",
            "" if row.p_value is None else f"{row.p_value:.2g}",
            "" if row.n_needed is None else f"{row.n_needed:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| not run | {escaped(name)} | | | | | | | |" for name in report.unmatched]
    strict = "strict" if report.strict else "not strict"
    lines += ["", f"{escaped(report.promise)} One-sided, {strict}.", ""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text for a cell of a markdown table, whatever it holds."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#@!])", r"\\\1", text)


def write_summary(text: str, path: Path) -> None:
    """Write markdown; what `GITHUB_STEP_SUMMARY` names is appended to, as others write there too."""
    path = Path(path)
    if os.environ.get("GITHUB_STEP_SUMMARY") == str(path):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


class GateCase(NamedTuple):
    """One question of a gate as a test case."""

    name: str
    verdict: str
    sentence: str
    failed: bool
    """True if it closes the gate."""


def junit_xml(report: GateReport) -> str:
    """The report as JUnit XML.

    A failure closes the gate, and so does what is undecided if nothing was decided, or if strict; else it is
    skipped.
    """
    cases = [
        GateCase(
            f"{row_name(row.key)} {row.check.metric}", row.verdict, row.sentence, report.closes(row.verdict)
        )
        for row in report.rows
    ]
    cases += [
        GateCase(name, "not run", f"NOT RUN: {name} is in the baseline only.", report.strict)
        for name in report.unmatched
    ]
    return junit_of("gate", cases)


def junit_of(command: str, cases: Sequence[GateCase]) -> str:
    """The cases of a command as JUnit XML: what failed, and what is neither held nor failed as skipped."""
    failures = sum(case.failed for case in cases)
    skipped = sum(not case.failed and case.verdict != "held" for case in cases)
    counts = {
        "tests": str(len(cases)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": f"prefbench {command}", "time": "0", **counts})
    for name, verdict, sentence, failed in cases:
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": f"prefbench.{command}", "name": _xml_text(name), "time": "0"},
        )
        if failed:
            ET.SubElement(case, "failure", {"message": _xml_text(sentence), "type": verdict})
        elif verdict != "held":
            ET.SubElement(case, "skipped", {"message": _xml_text(sentence)})
        else:
            ET.SubElement(case, "system-out").text = _xml_text(sentence)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml_text(text: str) -> str:
    """The text without the characters that XML 1.0 cannot hold, escaped or not."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def write_junit(text: str, path: Path) -> None:
    """Write JUnit XML."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)

"""JUnit XML of a report, so that a build server shows findings, failed probes and conditions as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from diagnose.judge.conditions import ConditionResult
from diagnose.report.assemble import write_text
from diagnose.schema import Report
from diagnose.wording.condition_words import condition_sentence


def write(report: Report, path: Path | str, conditions: Sequence[ConditionResult] = ()) -> Path:
    """Write one suite each of findings, probes and conditions.

    A finding `fail` is a failure, `inconclusive` is skipped, `warn` passes with its text; a probe that raised is an error; a
    `--fail-on` condition that held is a failure.

    Args:
        report: the report.
        path: file to write.
        conditions: results of `conditions.check`.
    """
    root = ElementTree.Element("testsuites", name=_clean(f"synthgap {report.name}"))
    findings = _suite(root, "findings")
    for finding in report.findings:
        case = _case(findings, finding.id, "synthgap.findings")
        if finding.verdict == "fail":
            ElementTree.SubElement(case, "failure", message=_clean(finding.statement))
        elif finding.verdict == "inconclusive":
            ElementTree.SubElement(case, "skipped", message=_clean(finding.statement))
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(f"{finding.verdict}: {finding.statement}")
    probes = _suite(root, "probes")
    for record in report.probes:
        case = _case(probes, f"{record.probe} of {record.subject}", "synthgap.probes")
        if record.status == "failed":
            ElementTree.SubElement(case, "error", message=_clean(record.error))
    fail_on = _suite(root, "conditions")
    for result in conditions:
        case = _case(fail_on, result.expression, "synthgap.conditions")
        if result.holds:
            ElementTree.SubElement(case, "failure", message=_clean(condition_sentence(result)))
    _count(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return write_text(Path(path), f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _suite(root: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(root, "testsuite", name=name)


def _case(suite: ElementTree.Element, name: str, group: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=group, name=_clean(name), time="0")


def _count(root: ElementTree.Element) -> None:
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root:
        cases = list(suite)
        counts = {"tests": len(cases)}
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            counts[name] = sum(case.find(tag) is not None for case in cases)
        for name, count in counts.items():
            suite.set(name, str(count))
            totals[name] += count
    for name, count in totals.items():
        root.set(name, str(count))


def _clean(text: str) -> str:
    """Drop the characters that XML 1.0 cannot hold, even escaped."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)

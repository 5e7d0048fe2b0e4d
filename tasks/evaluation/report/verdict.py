"""The verdict of a report: at most three sentences and what was flagged, for who reads nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scansuite.words import number_of
from tasks.evaluation.report.content import Section, Subject
from tasks.evaluation.report.sections.results import answer
from tasks.evaluation.report.words import with_interval


def verdict(subject: Subject, sections: Sequence[Section]) -> list[str]:
    """How good the model is, how it calls at its operating point, and how much was found to be wrong.

    Args:
        subject: the run, and the part that is reported.
        sections: all of the report, with their flags.
    """
    said = [answer(subject) or "No metric is defined on these cases.", _calls(subject)]
    flags = sum(len(section.flags) for section in sections)
    if flags:
        said.append(f"{number_of(flags, 'finding')} below {'needs' if flags == 1 else 'need'} attention.")
    else:
        said.append("None of the checks below raised a flag; what this run cannot say stands under its limits.")
    return [sentence for sentence in said if sentence]


def _calls(subject: Subject) -> str:
    """The calls at the operating point in a sentence."""
    metrics = subject.metrics
    names = ("sensitivity@op", "specificity@op" if "specificity@op" in metrics else "precision@op")
    known = [name for name in names if name in metrics and not math.isnan(metrics[name].value)]
    if not known:
        return ""
    said = " and its ".join(f"{name.partition('@')[0]} is {with_interval(metrics[name])}" for name in known)
    # Calls of another tool come with no word on where their threshold was chosen.
    chosen = ", chosen on validation," if subject.run.task.operating_points else ""
    return f"At its operating point{chosen} its {said}."

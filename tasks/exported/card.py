"""Model card of a package: that of the run's report, or what run or model say, with blanks for the authors."""

from __future__ import annotations

import logging
from pathlib import Path

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.exported.description import Description

log = logging.getLogger(__name__)

_LARGEST = 2**22


def card_of(description: Description, run_dir: Path | None = None) -> str:
    """The model card as Markdown.

    Args:
        description: of the model.
        run_dir: folder of the run: the card that its report has written, which its authors may have completed, or one
            of its tables. Left out, or without tables: of the description.
    """
    if run_dir is not None:
        file = run_dir / "report" / "model_card.md"
        if file.is_file():
            if file.stat().st_size > _LARGEST:
                raise SuiteError(f"{file}: is too large for a model card")
            try:
                return file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise SuiteError(f"{file}: cannot be read: move it away to have it written anew") from None
        try:
            return _of_run(run_dir)
        except SuiteError as error:
            log.warning("the model card says what the model says of itself alone: %s", error)
    return _of_description(description)


def _of_run(run_dir: Path) -> str:
    from tasks.evaluation.documents.answers import answers_of
    from tasks.evaluation.documents.facts import facts_of
    from tasks.evaluation.documents.items import filled
    from tasks.evaluation.documents.markdown import document_text
    from tasks.evaluation.evaluated import read_evaluated
    from tasks.evaluation.report.content import ReportSettings, Subject
    from tasks.evaluation.report.write import reported_part

    run = read_evaluated(run_dir)
    subject = Subject(run, reported_part(run), ReportSettings())
    return document_text("model_card", filled("model_card", answers_of(subject, facts_of(subject))), run_dir.name)


def _of_description(description: Description) -> str:
    from tasks.evaluation.documents.answers import Answer
    from tasks.evaluation.documents.items import filled
    from tasks.evaluation.documents.markdown import document_text

    said = {
        "date": (description.made.partition("T")[0], True),
        "software": (f"scansuite {description.suite}" if description.suite else "", False),
        "technology": (f"Deep learning: a neural network ({description.task}).", True),
        "weights": (_weights(description), False),
        "preprocessing": (_preprocessing(description), False),
        "output": (f"Classes: {', '.join(description.class_names)}.", False),
        "thresholds": (_thresholds(description), False),
        "calibration": (
            "Scores are as the model gives them." if description.calibration is None else "Scores are calibrated.",
            False,
        ),
        "results": (_checks(description), False),
    }
    answers = {name: Answer(text, "description.json", whole) for name, (text, whole) in said.items() if text}
    return document_text("model_card", filled("model_card", answers), description.name or "model")


def _weights(description: Description) -> str:
    if description.weights is None:
        return "Trained from scratch."
    return f"First weights: {description.weights}, licence: {description.licence or 'not known'}."


def _preprocessing(description: Description) -> str:
    size = description.preprocess.size
    seen = "at their own size" if size is None else f"resized to {size[0]} x {size[1]} pixels (height x width)"
    return f"Images {seen}, {number_of(description.in_channels, 'channel')}."


def _thresholds(description: Description) -> str:
    points = ", ".join(f"{name} {point:.3f}" for name, point in list(description.operating_points.items())[:12])
    return f"Calls from a score of {points}; chosen on validation." if points else ""


def _checks(description: Description) -> str:
    told = "; ".join(
        f"{one.name}: {one.value:.3g} (allowed {one.tolerance:.3g}, {number_of(one.scans, 'scan')})"
        for one in description.checks
    )
    return f"Largest difference of the exported file from the checkpoint: {told}." if told else ""

"""A report written: page, figures as JSON, tables as CSV, and what is asked for beside them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.evaluation.decisions.choice import choose_again
from tasks.evaluation.documents.markdown import FILES as DOCUMENTS
from tasks.evaluation.documents.markdown import write_documents
from tasks.evaluation.evaluated import EvaluatedRun, read_evaluated
from tasks.evaluation.report.build import build_sections
from tasks.evaluation.report.content import ReportSettings, Section, Subject
from tasks.evaluation.report.header import PART_NAMES, TASK_NAMES, header, part_of
from tasks.evaluation.report.plain import (
    PaperFormat,
    report_json,
    write_csv_tables,
    write_paper_tables,
    write_report_json,
)
from tasks.evaluation.report.verdict import verdict

log = logging.getLogger(__name__)

PAGE = "report.html"


@dataclass(frozen=True)
class Extras:
    """What is written beside the page and its figures.

    Attributes:
        plots: every plot as SVG and PDF.
        paper: tables as LaTeX or Markdown; None = not.
        tables: every table as CSV.
    """

    plots: bool = False
    paper: PaperFormat | None = None
    tables: bool = True


def write_report(
    run: EvaluatedRun,
    output: Path,
    split: str | None = None,
    settings: ReportSettings | None = None,
    extras: Extras | None = None,
    *,
    strict: bool = True,
) -> list[Path]:
    """Write the report of a run.

    Beside ``<name>.html`` come to stand ``<name>.json`` and, in a folder ``<name>``, the tables and what else is asked
    for.

    Args:
        run: its tables.
        output: of the page, ``<name>.html``.
        split: the part that is reported; None = test where there is one, otherwise the last there is.
        settings: see there.
        extras: see there.
        strict: a section that fails ends the report.

    Returns:
        The files written, the page first.

    Raises:
        SuiteError: a table is not what it should be, or the folder cannot be written to.
    """
    settings = settings or ReportSettings()
    if settings.operating_point:
        run = choose_again(run, settings.operating_point)
    subject = Subject(run, split or reported_part(run), settings)
    sections = build_sections(subject, strict=strict)
    title = f"{TASK_NAMES.get(run.task.task, run.task.task).capitalize()}: {Path(run.name).name}"
    part = part_of(subject)
    return write_sections(
        f"{title}, {part}",
        header(subject),
        verdict(subject, sections),
        sections,
        output,
        extras or Extras(),
        drawn_classes(run),
        lambda folder: write_documents(folder, subject),
    )


def drawn_classes(run: EvaluatedRun) -> Sequence[str]:
    """The classes that have a colour in pictures: all but the background of masks."""
    return run.task.class_names[1:] if run.task.task == "segment" else run.task.class_names


def write_sections(
    title: str,
    head: Sequence[tuple[str, str]],
    said: Sequence[str],
    sections: Sequence[Section],
    output: Path,
    extras: Extras,
    class_names: Sequence[str] = (),
    documents: Callable[[Path], list[Path]] | None = None,
) -> list[Path]:
    """Write sections as a page and its files; the page last, so that it never stands without them.

    Args:
        title: of the page.
        head: names and values.
        said: the verdict.
        sections: in order.
        output: of the page.
        extras: what is asked for beside it.
        class_names: that have a colour, see :func:`drawn_classes`.
        documents: writes further files into the folder beside the page; None = there are none.

    Returns:
        The files written, the page first.
    """
    from tasks.evaluation.report.page.report_page import report_page

    refuse_files_of_others(output)
    folder = output.with_suffix("")
    files = [output, output.with_suffix(".json")]
    writers: list[Callable[[], list[Path]]] = []
    if extras.tables:
        writers.append(lambda: write_csv_tables(folder, sections))
    if extras.paper is not None:
        paper = extras.paper
        writers.append(lambda: write_paper_tables(folder, sections, paper))
    if extras.plots:
        from tasks.evaluation.report.plot_files import write_plots

        writers.append(lambda: write_plots(folder, sections, class_names))
    if documents is not None:
        write_further = documents
        writers.append(lambda: write_further(folder))
    page = report_page(title, head, said, sections, class_names=class_names, folder=folder.name)
    remove_report(output)
    try:
        (folder if writers else folder.parent).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_written(output, error) from None
    for write in writers:
        files += write()
    write_report_json(files[1], report_json(head, said, sections) | {"files": _to_replace(files[2:])})
    write_text(output, page)
    return files


def refuse_files_of_others(output: Path) -> None:
    """Refuse a page beside which its figures or its tables would come into what is no report's.

    Args:
        output: of the page: ``metrics.html`` in a run folder would take its ``metrics.json``.

    Raises:
        SuiteError: there is such a file or folder.
    """
    if _old_figures(output) is not None:
        return
    figures, folder = output.with_suffix(".json"), output.with_suffix("")
    in_run = output.name == PAGE and (output.parent / "task.json").is_file()  # there the folder is the report's own
    filled = not in_run and folder.is_dir() and any(folder.iterdir())
    for path, is_theirs in ((figures, figures.exists()), (folder, filled)):
        if is_theirs:
            raise SuiteError(f"{output}: {path} would be written to, and is no report's: give the page another name")


def remove_report(output: Path) -> None:
    """Remove a report, so that no part of it passes for one of what is written next.

    Its documents for the authors to complete stay; of its folder goes what its ``<name>.json`` lists.

    Args:
        output: its page.

    Raises:
        SuiteError: a file cannot be removed.
    """
    old, folder = _old_figures(output), output.with_suffix("")
    try:
        output.unlink(missing_ok=True)
        if old is None:
            return
        for name in old.get("files", []):
            if isinstance(name, str) and name and Path(name).name == name and (folder / name).is_file():
                (folder / name).unlink()
        output.with_suffix(".json").unlink()
    except OSError as error:
        raise _cannot_be_written(output, error) from None


def _old_figures(output: Path) -> dict[str, Any] | None:
    """What ``<name>.json`` of a report holds; None where there is none, or the file is another's."""
    try:
        found = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"header", "verdict", "sections"} <= set(found) else None


def _to_replace(files: Sequence[Path]) -> list[str]:
    """Names of the files that go with a report; documents, which their authors complete, are not among them."""
    return sorted({file.name for file in files} - set(DOCUMENTS.values()))


def _cannot_be_written(output: Path, error: OSError) -> SuiteError:
    reason = str(error.strerror).lower()
    return SuiteError(f"{output}: cannot be written ({reason}): choose a page in a folder that you may write to")


def report_of_folder(run_dir: Path | str, split: str | None = None) -> list[Path]:
    """Write ``report.html`` into a run folder, as every command that evaluates does at its end.

    A report that fails is one report less, and never a run: a warning says why.

    Args:
        run_dir: the folder, with its tables.
        split: the part that is reported; None = test where there is one.

    Returns:
        The files written; empty where it failed.
    """
    folder = Path(run_dir)
    output = folder / PAGE
    try:
        remove_report(output)  # an old one would pass for that of the new tables
        return write_report(read_evaluated(folder), output, split, strict=False)
    except Exception as error:
        log.warning("%s: not written: %s", output, " ".join(str(error).split()) or type(error).__name__)
        log.debug("%s", output, exc_info=True)
        return []


def reported_part(run: EvaluatedRun) -> str:
    """The part that a report is about: test where there is one, otherwise the last there is."""
    return "test" if "test" in run.parts else run.parts[-1]


def write_comparison(
    runs: Sequence[EvaluatedRun],
    output: Path,
    split: str | None = None,
    settings: ReportSettings | None = None,
    extras: Extras | None = None,
) -> list[Path]:
    """Write the comparison of two or more runs on the same cases.

    Args:
        runs: the first is what the others are compared with.
        output: of the page.
        split: the part; None = test where all have one, otherwise that of the first.
        settings: see there.
        extras: see there.

    Returns:
        The files written, the page first.

    Raises:
        SuiteError: the runs are not of the same cases, or a table is not what it should be.
    """
    from tasks.evaluation.comparison.sections import compare

    part = split or reported_part(runs[0])
    settings = settings or ReportSettings()
    if settings.operating_point:
        runs = [choose_again(run, settings.operating_point) for run in runs]
    sections = compare(runs, part, settings)
    names = list(sections[0].figures["runs"])  # told apart where folders have the same name
    head = [*header(Subject(runs[0], part)), ("Compared with it", ", ".join(names[1:]))]
    said = [line for section in sections[:1] for line in section.lines[:3]]
    title = f"{' and '.join(names)} compared, {PART_NAMES.get(part, part)}"
    return write_sections(title, head, said, sections, output, extras or Extras())

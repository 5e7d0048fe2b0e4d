"""``check``: look at a data set before anything is trained on it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from datamodules.checks.contents import keep_contents
from datamodules.checks.kinds import SEVERITIES, kind_of
from datamodules.checks.page import verdict, write_page
from datamodules.checks.run import check
from datamodules.checks.store import FindingStore
from datamodules.fingerprint.fingerprint import FILE as FINGERPRINT
from datamodules.fingerprint.measure import measure_fingerprint
from datamodules.preparation import described
from datamodules.readers.listing import refuse_missing
from datamodules.settings import default_workers
from scansuite.errors import SuiteError
from scansuite.files import write_text
from scansuite.progress import progress
from tasks.cli.logs import configure_logs
from tasks.cli.parser import TaskParser
from tasks.cli.runs.run_dir import new_folder

log = logging.getLogger(__name__)

OWN_FLAGS = {"output": "new folder for check.csv, check.html and fingerprint.json; left out: nothing is written"}
_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def run(task: str, argv: Sequence[str]) -> int:
    """Check a data set.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, or 1 where something would stop or spoil training.
    """
    configure_logs()
    cli = TaskParser(task, "check", argv, own_flags=OWN_FLAGS, builds_model=False)
    data = cli.build_data()
    refuse_missing(data.root, "--data.root")  # before anything is made
    output = new_folder(cli.config["output"], "--output")
    # At least one process beside this one: a crafted file may end it.
    workers = data.num_workers if data.num_workers is not None else max(1, default_workers())
    with FindingStore(output) as store:
        with progress("checking", "files") as told, check(data, store, output, workers, told) as survey:
            if len(survey.table):
                log.info("%s", described(data, survey.table))
            store.write(output / "check.csv", survey.cases())
            write_page(output / "check.html", survey, store)
            clean = len(survey.table) > 0 and not store.count("error")
            if clean:
                keep_contents(survey)
        files = [output / "check.html", output / "check.csv"]
        if clean and _write_fingerprint(cli, output / FINGERPRINT):
            files.append(output / FINGERPRINT)
        _show(store)
        print(f"{verdict(store)}: {', '.join(map(str, files))}")
        return 1 if store.count("error") else 0


def _write_fingerprint(cli: TaskParser, file: Path) -> bool:
    """Measure the data as training would have them, by a data module of their own; whether that could be done."""
    logging.disable(logging.WARNING)  # the check has said it all
    try:
        fingerprint = measure_fingerprint(cli.build_data())
    except SuiteError as error:
        reason = str(error)
    else:
        write_text(file, fingerprint.to_json())
        return True
    finally:
        logging.disable(logging.NOTSET)
    log.info("no %s: %s", file.name, reason)
    return False


def _show(store: FindingStore) -> None:
    """A table of kinds with the first finding of each."""
    if not store.counts:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("severity", "kind", "found", "the first"):
        table.add_column(name, justify="right" if name == "found" else "left", overflow="fold")
    for severity in SEVERITIES:
        for (of, kind), count in store.counts.items():
            if of != severity:
                continue
            first = next((one for one in store.examples[kind] if one.severity == severity), None)
            where = f"{first.path}: " if first is not None and first.path and first.path not in first.detail else ""
            detail = "" if first is None else where + first.detail
            # Text, not markup: what stands in data is no instruction to the console.
            table.add_row(
                Text(severity, _COLOURS[severity]), Text(kind), str(count), Text(detail or kind_of(kind).meaning)
            )
    Console(width=None if sys.stdout.isatty() else 160).print(table)

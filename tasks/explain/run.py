"""Everything that the verb ``explain`` does with a model and files, from what is asked for to its folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch

from datamodules.input_cases import InputCases
from datamodules.pictures.views import as_shown
from datamodules.readers import formats
from scansuite.errors import SuiteError, nearest
from scansuite.files import write_text
from scansuite.progress import progress
from scansuite.words import number_of
from tasks.base import Task
from tasks.ensemble import Ensemble
from tasks.evaluation.tables import write_table
from tasks.explain.activations import numbered
from tasks.explain.cases import ExplainedCases
from tasks.explain.judging import Judge, page_verdicts
from tasks.explain.kernel_pictures import report_kernels
from tasks.explain.kernels import Kernel, Padding
from tasks.explain.layer_pictures import FeatureReport, named_layers, report_filters
from tasks.explain.layers import resolve_layer
from tasks.explain.map_writer import MapWriter, head
from tasks.explain.maps import check_methods, explainer_of, refusal
from tasks.explain.methods import ABOUT, METHODS, Method
from tasks.explain.page import ExplainPage
from tasks.explain.truth import Truth
from tasks.loading import Model

log = logging.getLogger(__name__)

ALL, NONE = "all", "none"
PAGE = "explain.html"


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        methods: of maps; ``all``, or ``none``; empty: the task's usual one.
        layer: whose cells maps have; None: the usual one.
        targets: names of classes; empty: as predicted.
        slice: of each volume; None: the one that tells most.
        truth: path of masks or boxes; None: unknown.
        sanity: maps are checked.
        features: layers whose feature maps are drawn.
        filters: convolutions whose filters are drawn.
        kernels: applied to each scan.
        padding: of kernels.
    """

    methods: Sequence[str] = ()
    layer: str | None = None
    targets: Sequence[str] = ()
    slice: int | None = None
    truth: str | None = None
    sanity: bool = False
    features: Sequence[str] = ()
    filters: Sequence[str] = ()
    kernels: Sequence[Kernel] = ()
    padding: Padding = "valid"


@dataclass
class Explained:
    """What came of it.

    Attributes:
        cases: how many were explained.
        maps: how many there are.
        unreadable: (path, reason) of the files left out.
    """

    cases: int = 0
    maps: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)


class Explaining:
    """A model, files, and what is asked about them, all of it looked at before anything is written.

    Args:
        model: with its weights.
        inputs: how files are read.
        paths: files, folders and tables.
        asked: see :class:`Asked`.

    Raises:
        SuiteError: nothing is found; there is no such class, layer or method, or the network cannot do it.
    """

    def __init__(self, model: Model, inputs: InputCases, paths: Sequence[str], asked: Asked) -> None:
        self.model, self.asked, self.inputs = model, asked, inputs
        self.members = [cast("Task", one) for one in (model.members if isinstance(model, Ensemble) else [model])]
        for member in self.members:
            member.eval()
        self._check_targets()
        if asked.layer is not None:
            for member in self.members:
                resolve_layer(member, numbered(asked.layer)[0])
        self.methods = self._methods(asked.methods or [explainer_of(model).usual])
        if asked.sanity and not self.methods:
            raise SuiteError("--sanity true: checks maps, and --method none makes none: leave one of them out")
        self.features = [named_layers(one, asked.features, "--features") for one in self.members if asked.features]
        self.filters = [named_layers(one, asked.filters, "--filters") for one in self.members if asked.filters]
        self.cases = ExplainedCases(model, inputs, paths, asked.targets, asked.slice)
        self.truth = None if asked.truth is None else Truth(asked.truth, model.class_names, model.slices, inputs.limits)

    def run(self, output: Path) -> Explained:
        """Explain all cases into a folder.

        Raises:
            SuiteError: a file cannot be written.
        """
        done = Explained()
        page = ExplainPage(self._about(), head=head(checked=self.asked.sanity))
        judge = Judge(self.model, self.asked.layer) if self.asked.sanity else None
        writer = MapWriter(self.model, self.cases, self.methods, output, page, self.asked.layer, self.truth, judge)
        reports = [
            FeatureReport(member, layers, output, name)
            for member, layers, name in zip(self.members, self.features, self._names(), strict=False)
        ]
        with progress("explaining", "cases", len(self.cases)) as tell:
            for case in range(len(self.cases)):
                try:
                    self._case(case, writer, reports, page)
                    done.cases += 1
                except SuiteError as error:
                    done.unreadable.append((self.cases.path(case), str(error)))
                tell(case + 1)
        for report in reports:
            report.finish(page)
        for member, layers, name in zip(self.members, self.filters, self._names(), strict=False):
            report_filters(member, layers, output, page, name)
        done.unreadable += self.cases.unreadable
        done.maps = len(writer.rows)
        if writer.rows:
            write_table(writer.table(), output / "explain.csv")
        if writer.attention:
            write_table(pd.DataFrame(writer.attention), output / "attention.csv")
        page.verdicts = page_verdicts(self.methods, judge)
        page.methods = [_method_row(method) for method in self.methods]
        finish(page, output, done)
        return done

    def _case(self, case: int, writer: MapWriter, reports: Sequence[FeatureReport], page: ExplainPage) -> None:
        images = self.cases.images(case)
        if not images:
            raise SuiteError("none of its images can be read")
        name = self.cases.name(case)
        if self.methods:
            writer.add(name, self.cases.path(case), images)
        for report in reports:
            report.add(name, images[0].image[None])
        if self.asked.kernels:
            first = images[0]
            kernels, padding = self.asked.kernels, self.asked.padding
            report_kernels(name, first.scan, first.shown(), kernels, padding, writer.output, page)

    def _methods(self, asked: Sequence[str]) -> list[Method]:
        """The methods that are meant; ``all``: those that the network can do."""
        if NONE in asked:
            if len(asked) > 1:
                raise SuiteError("--method none: stands alone: leave it or the others out")
            return []
        names = list(METHODS) if ALL in asked else list(dict.fromkeys(asked))
        check_methods(names)
        member = self.members[0]
        size = member.input_size or (64, 64)
        trial = torch.full((1, member.in_channels, *size), 0.5)
        known = cast("list[Method]", names)
        reasons = {name: refusal(self.model, name, trial) for name in known}
        for name, reason in reasons.items():
            if reason is not None and ALL not in asked:
                raise SuiteError(f"--method {name}: {reason}")
            if reason is not None:
                log.info("%s left out: %s", name, reason)
        return [name for name in known if reasons[name] is None]

    def _check_targets(self) -> None:
        names = self.model.class_names
        kind = getattr(self.model, "target", None)
        if kind in ("regression", "ordinal"):  # a number or a grade, which the explainer names
            return
        for one in self.asked.targets:
            if one not in names:
                raise SuiteError(f"--target {one!r}: is no class of the model: {nearest(one, names)}")

    def _names(self) -> list[str]:
        """Folders of the members of an ensemble; of a model alone none."""
        return [""] if len(self.members) == 1 else [f"member_{number + 1}" for number in range(len(self.members))]

    def _about(self) -> str:
        backbones = ", ".join(dict.fromkeys(member.backbone.name for member in self.members))
        many = f"{len(self.members)} models of " if len(self.members) > 1 else ""
        return f"{many}{backbones} ({self.model.name}: {', '.join(self.model.class_names)})"


def apply_kernels(
    inputs: InputCases,
    paths: Sequence[str],
    kernels: Sequence[Kernel],
    padding: Padding,
    folder: Callable[[], Path],
) -> Explained:
    """Apply kernels to flat images, without a model.

    Args:
        inputs: how files are read.
        paths: files, folders and tables.
        kernels: to apply.
        padding: of them.
        folder: makes the folder that is written to.

    Raises:
        SuiteError: nothing is found, or a file cannot be written.
    """
    table = inputs.table(paths)
    done, output = Explained(), folder()
    page = ExplainPage("kernels alone, without a model")
    for case_id, path in zip(table.cases["case_id"], table.cases["path"], strict=True):
        try:
            scan = formats.read(Path(path), inputs.limits)
            shown = np.asarray(as_shown(scan.array) / 255, np.float32)
            report_kernels(str(case_id), scan, shown, kernels, padding, output, page)
            done.cases += 1
        except SuiteError as error:
            done.unreadable.append((str(path), str(error)))
    finish(page, output, done)
    return done


def finish(page: ExplainPage, output: Path, done: Explained) -> None:
    """Write the page, and ``errors.csv`` where there is something in it."""
    if done.unreadable:
        page.warnings.append(
            f"{number_of(len(done.unreadable), 'file')} could not be read or explained: see errors.csv."
        )
        write_table(pd.DataFrame(done.unreadable, columns=["path", "error"]), output / "errors.csv")
    write_text(output / PAGE, page.text())


def _method_row(method: Method) -> tuple[str, str, str, str]:
    told = ABOUT[method]
    return told.title, told.meaning, "cells of a layer" if told.cells else "pixels", told.source

"""Display of an evaluation or a prediction: cases and tiles, of how many, and what is left."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sized
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from datamodules.samples.tiles import plan_tiles
from datamodules.types import Piece
from scansuite.words import clock
from tasks.cli.display.bar import Line, LiveLine, Part
from tasks.cli.display.console import is_quiet


class CaseCount:
    """Count of the cases that are done, and of their tiles, from the batches that have gone through the model.

    Args:
        cases: how many there will be; None: not known, as of a user's own loader.
        tile: (h, w) of the tiles that images are cut into; None: images go through whole.
        overlap: of tiles.
    """

    def __init__(self, cases: int | None, tile: tuple[int, int] | None = None, overlap: float = 0.0) -> None:
        self.cases, self.tile, self.overlap = cases, tile, overlap
        self.pieces = 0  # done
        self._planned: dict[int, int] = {}  # pieces of each case that was begun
        self._by_size: dict[tuple[int, int], int] = {}
        self._whole: set[str] = set()  # cases that come in one piece, and files that could not be read
        self._finished = 0

    def add(self, batch: Any) -> None:
        """Count a batch."""
        if not isinstance(batch, Mapping):
            return
        self._whole |= {f"unreadable {path}" for path, _ in batch.get("unreadable") or []}
        pieces = batch.get("pieces")
        if pieces is None:
            scans = batch.get("scan") or []
            self._whole |= {str(scan["case_id"]) for scan in scans if "case_id" in scan}
            return
        for piece in pieces:
            self.pieces += 1
            self._planned.setdefault(piece.case, piece.images * self._tiles(piece))
            self._finished += piece.last and piece.image == piece.images - 1

    def _tiles(self, piece: Piece) -> int:
        if self.tile is None:
            return 1
        if piece.size not in self._by_size:
            self._by_size[piece.size] = len(plan_tiles(piece.size, self.tile, self.overlap))
        return self._by_size[piece.size]

    @property
    def done(self) -> int:
        """Cases that are done."""
        return self._finished + len(self._whole)

    @property
    def expected(self) -> tuple[int, bool]:
        """Pieces of all cases, and whether that is exact: cases that are not open yet may have more or fewer."""
        planned, begun = sum(self._planned.values()), len(self._planned)
        to_come = 0 if self.cases is None else max(0, self.cases - begun - len(self._whole))
        if not begun or not to_come:
            return planned, True
        return round(planned / begun * (begun + to_come)), False

    @property
    def share(self) -> float | None:
        """Share that is done, from 0 to 1; None: not known."""
        if self.cases is None:
            return None
        if not self._planned:
            return min(1.0, self.done / max(1, self.cases))
        expected, _ = self.expected
        in_pieces = max(0, self.cases - len(self._whole))
        return min(1.0, (len(self._whole) + in_pieces * self.pieces / expected) / max(1, self.cases))

    def parts(self) -> list[Part]:
        """Counts in words."""
        told = [Part(f"{self.done}{'' if self.cases is None else f'/{self.cases}'} cases", 2)]
        expected, exact = self.expected
        if expected > len(self._planned):
            unit = "images" if self.tile is None else "tiles"
            told.append(Part(f"{self.pieces}/{'' if exact else 'about '}{expected} {unit}"))
        return told


class Display(Callback):
    """Shows a line, and takes it away however a trainer ends.

    Args:
        bar: the line.
    """

    def __init__(self, bar: LiveLine) -> None:
        self.bar = bar

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the line away before anybody says what happened."""
        self.bar.stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the line away."""
        self.bar.stop()


def total_batches(batches: Any) -> float:
    """Batches of one loader or of several, as a trainer counts them; infinity: without end."""
    return float(sum(batches) if isinstance(batches, (list, tuple)) else batches)


class EvaluationDisplay(Display):
    """Shows how far ``trainer.validate``, ``test`` and ``predict`` are: a line on a terminal, else one now and then.

    Args:
        doing: ``evaluating``, which some tasks do by ``trainer.predict``, or ``predicting``.
    """

    def __init__(self, doing: str) -> None:
        self._lead = doing
        super().__init__(LiveLine(self._line))
        self._begin(None)

    def _begin(self, loader: Any, world_size: int = 1) -> None:
        self._batches, self._of = 0, math.inf
        self._counted = _count_of(loader, world_size)
        self._began = time.monotonic()
        self.bar.wait()

    def _line(self) -> Line:
        by_batches = None if math.isinf(self._of) else self._batches / max(1.0, self._of)
        share = self._counted.share
        if by_batches is not None:  # of the limits of the trainer a count of cases knows nothing
            share = max(share or 0.0, by_batches)
        counts = self._counted.done or self._counted.pieces  # not of batches of a user's own loader
        if counts or (self._counted.cases is not None and not self._batches):
            parts = self._counted.parts()
        else:
            parts = [Part(f"{self._batches}{'' if by_batches is None else f'/{self._of:.0f}'} batches", 2)]
        if share:
            parts.append(Part(f"{clock((time.monotonic() - self._began) * (1 - share) / share)} left", 1))
        return Line(self._lead, share, parts)

    def _start(self, trainer: Trainer, loader: Any) -> None:
        self._begin(loader, trainer.world_size)
        if trainer.is_global_zero:
            self.bar.start()

    def _count(self, trainer: Trainer, batch: Any, batch_idx: int, batches: Any) -> None:
        if is_quiet() or not trainer.is_global_zero:
            return
        self._counted.add(batch)
        self._batches, self._of = batch_idx + 1, total_batches(batches)
        self.bar.update()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a line, unless a training is validated."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._start(trainer, trainer.val_dataloaders)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a line."""
        self._start(trainer, trainer.test_dataloaders)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a line."""
        self._start(trainer, trainer.predict_dataloaders)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: object
    ) -> None:
        """Count."""
        if trainer.state.fn != TrainerFn.FITTING:
            self._count(trainer, batch, batch_idx, trainer.num_val_batches)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: object
    ) -> None:
        """Count."""
        self._count(trainer, batch, batch_idx, trainer.num_test_batches)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: object
    ) -> None:
        """Count."""
        self._count(trainer, batch, batch_idx, trainer.num_predict_batches)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the line away."""
        self.bar.stop()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the line away."""
        self.bar.stop()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the line away."""
        self.bar.stop()


def _count_of(loader: Any, world_size: int) -> CaseCount:
    """A count for this process's share of a loader's cases."""
    # Known by their shape: a stream of cases (datamodules.loading.case_stream), else a data set of cases.
    dataset = getattr(loader, "dataset", None)
    source = getattr(dataset, "source", None)
    tile = getattr(dataset, "tile", None)
    cases = source if isinstance(source, Sized) and hasattr(dataset, "overlap") else dataset
    number = -(-len(cases) // world_size) if isinstance(cases, Sized) else None
    return CaseCount(number, tile, getattr(dataset, "overlap", 0.0))

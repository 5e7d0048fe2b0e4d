"""Checkpoints in the middle of an epoch, and training that goes on there as if nothing had been.

Lightning restores where its loops stood, and little of what an epoch has gathered by then: not which cases are behind,
random numbers, running means and metrics. All of that is saved here by rank.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from datamodules.loading.sampling import TrainSampler
from datamodules.types import Batch
from scansuite.errors import SuiteError
from tasks.distributed import gather
from tasks.training.stopping.epoch_state import State, epoch_state, random_state, set_epoch_state, set_random_state

KEY = "mid_epoch"  # in a checkpoint
# Lightning does not know that the loader begins where the run was cut off.
_NOT_RESUMABLE = "You're resuming from a checkpoint that ended before the epoch ended"
Place: TypeAlias = Literal["between steps", "before validation"]


class MidEpoch(Callback):
    """Saves a training between two steps, or between a step and the validation that follows, and goes on there.

    It stands in front of all callbacks: what others draw or change at the start of a step is not yet done.
    """

    def __init__(self) -> None:
        self._found: State | None = None  # in the checkpoint that training goes on from
        self._random: State | None = None  # to be put back before the next step
        self._goes_on = False
        self._validated = False
        self._averages = False  # where weights are averaged, the model holds the average
        self._before_validation: State = {}
        self._saving: State | None = None

    # Saving.

    def can_save(self, trainer: Trainer, batches: int) -> bool:
        """Whether nothing is half done after so many batches of the epoch: no gradient that waits for more of them.

        A loader of the user's own cannot be told where to begin.
        """
        whole = batches % trainer.accumulate_grad_batches == 0 or batches == trainer.num_training_batches
        return whole and loader_of_suite(trainer) is not None

    def save(self, trainer: Trainer, model: LightningModule, file: Path, place: Place) -> None:
        """Write a checkpoint; all ranks together.

        Args:
            trainer: at the start of a batch, or of validation or one of its batches.
            model: that trains.
            file: to be written, whole or not at all.
            place: which of the two.

        Raises:
            SuiteError: it cannot be written.
        """
        random = random_state(model.device)
        if place == "before validation":
            random = self._before_validation
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, WeightAveraging) and self._averages:
                    callback.on_validation_epoch_end(trainer, model)  # the weights that train again
        loader = loader_of_suite(trainer)
        assert loader is not None
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        ranks = gather({"random": random, **epoch_state(trainer, model)})
        self._saving = {
            "place": place,
            "batches": done,
            "draws": done * int(loader.batch_size or 1),
            "layout": _layout(trainer, loader),
            "validated": self._validated,
            "ranks": ranks,
        }
        try:
            trainer.save_checkpoint(file)
        finally:
            self._saving = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what was gathered to a checkpoint that :meth:`save` writes."""
        if self._saving is not None:
            checkpoint[KEY] = self._saving
            loops = checkpoint["loops"] = copy.deepcopy(checkpoint["loops"])
            set_loops(loops["fit_loop"], self._saving["place"], validated=self._validated)

    # Going on.

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep what a checkpoint has of an epoch that was cut off."""
        self._found = checkpoint.get(KEY)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the epoch that was cut off.

        Raises:
            SuiteError: it was cut into other batches.
        """
        self._goes_on, self._random, self._validated = False, None, False
        found, self._found = self._found, None
        if found is None:
            return
        warnings.filterwarnings("ignore", _NOT_RESUMABLE)
        loader = loader_of_suite(trainer)
        now = {} if loader is None else _layout(trainer, loader)
        for flag, before in found["layout"].items():
            if now.get(flag) != before:
                raise SuiteError(
                    f"{flag} {now.get(flag)}: last.ckpt is from the middle of an epoch, of which {before} was the "
                    "measure: go on with the old value until the epoch's end, or start a new run with --model.weights"
                )
        own = found["ranks"][trainer.global_rank]
        set_epoch_state(trainer, pl_module, own)
        self._goes_on, self._random = True, own["random"]
        self._validated = bool(found["validated"])
        if loader is not None and found["batches"] < trainer.num_training_batches:
            _sampler(loader).set_start(found["draws"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A new epoch begins at its start."""
        self._goes_on = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Put random numbers and running means back before the first step."""
        if self._random is not None:
            # Here and no earlier: a loader draws the seed of its processes when its first batch is asked for.
            set_random_state(self._random, pl_module.device)
            self._random = None
        if self._goes_on:
            connector: Any = trainer._logger_connector
            connector._first_loop_iter = False  # the first step of an epoch would begin the means anew
            self._goes_on = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """A step was taken since the last validation."""
        self._validated = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where the generators stand, or put them there where validation is what was cut off."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if self._random is not None:
            set_random_state(self._random, pl_module.device)
        self._before_validation = random_state(pl_module.device)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that averages take the place of the weights now."""
        self._averages = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that these steps are validated, and where the generators stand for the step to come."""
        self._averages = False
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self._validated = True
        if self._random is not None:
            self._random = random_state(pl_module.device)


def loader_of_suite(trainer: Trainer) -> DataLoader[Any] | None:
    """The training loader, where its sampler can be told where to begin."""
    combined = trainer.fit_loop._combined_loader
    loaders = [] if combined is None else combined.flattened
    if len(loaders) == 1 and isinstance(getattr(loaders[0], "sampler", None), TrainSampler):
        loader: DataLoader[Any] = loaders[0]
        return loader
    return None


def _sampler(loader: DataLoader[Any]) -> TrainSampler:
    assert isinstance(loader.sampler, TrainSampler)
    return loader.sampler


def _layout(trainer: Trainer, loader: DataLoader[Any]) -> dict[str, Any]:
    """What cuts an epoch into batches and steps, by the flag that sets it."""
    return {
        "--data.batch_size": loader.batch_size,
        "--trainer.devices": trainer.world_size,
        "--trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "batches of an epoch": int(trainer.num_training_batches),
    }


def set_loops(loops: dict[str, Any], place: Place, *, validated: bool) -> None:
    """Say in the state of Lightning's fit loop that all batches so far are over, and what comes next.

    Args:
        loops: ``fit_loop`` of a checkpoint; changed.
        place: where training goes on.
        validated: the last batch has been validated, and is not to be once more.
    """
    progress = loops["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count.update(dict.fromkeys(("ready", "started", "processed"), count["completed"]))
    if place == "between steps":
        progress["is_last_batch"] = False
        if validated:
            # Lightning goes once around its loop without a step there, and counts that for the loggers.
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
        return
    # As Lightning knows a validation that was cut off, at its first batch.
    validation = loops["epoch_loop.val_loop.batch_progress"]
    validation["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    validation["current"] = dict.fromkeys(("ready", "started", "processed", "completed"), 0)
    validation["is_last_batch"] = False

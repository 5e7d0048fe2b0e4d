"""Help of the flags of Lightning's trainer, in the words of the suite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.cli.help_lines import Known, known_of, line

# The flags that most runs need.
FIRST = (
    *("max_epochs", "accelerator", "devices", "precision", "deterministic", "gradient_clip_val"),
    *("accumulate_grad_batches", "fast_dev_run", "callbacks"),
)
OF_TRAINING = (  # and these where something is trained
    "max_epochs",
    "gradient_clip_val",
    "accumulate_grad_batches",
    "fast_dev_run",
    "deterministic",
)
TRAINER: Mapping[str, str] = {
    "max_epochs": "epochs to train: passes over the training part; -1: no end",
    "accelerator": "what to compute on; ``auto`` takes the best there is",
    "devices": "how many devices, or their numbers (0,1); -1: all; ``auto``: all GPUs, or one process on a CPU "
    "(docs/devices.md)",
    "precision": "number format; 16-mixed and bf16-mixed halve memory; left out: what this machine computes natively",
    "deterministic": "the same numbers on every run on this machine; warn: say where that cannot be; left out: false",
    "gradient_clip_val": "largest norm (or value) of the gradient; left out: no limit",
    "accumulate_grad_batches": "batches for each step of the optimiser",
    "fast_dev_run": "one batch through everything, or so many, and nothing is written",
    "callbacks": "any Lightning callback (EarlyStopping --trainer.callbacks.monitor val/auroc); with + behind the flag "
    "one more; left out: those of the suite alone",
    "strategy": "how several devices share the work: ``auto`` is DDP; ``fsdp2`` shards the model too (docs/devices.md)",
    "num_nodes": "machines that train together",
    "logger": "further logger of Lightning's, by its class; false: none; left out: that of --logger",
    "min_epochs": "epochs to train at least, whatever would stop earlier; left out: none",
    "max_steps": "steps of the optimiser after which training ends; -1: as many as the epochs have",
    "min_steps": "steps to train at least, whatever would stop earlier; left out: none",
    "max_time": "time to train at most, as days:hours:minutes:seconds (00:02:00:00); left out: no limit",
    "limit_train_batches": "batches of an epoch to train on: a share (0.1) or a count (100); left out: all",
    "limit_val_batches": "batches to validate on: a share (0.1) or a count (100); 0: no validation; left out: all",
    "limit_test_batches": "batches to test on: a share (0.1) or a count (100); left out: all",
    "limit_predict_batches": "batches to predict: a share (0.1) or a count (100); left out: all",
    "overfit_batches": "train and validate on the same few training batches: a share (0.1) or a count (4); 0: off",
    "val_check_interval": "when to validate within an epoch: every share of it (0.25), or every so many batches (100); "
    "left out: at its end",
    "check_val_every_n_epoch": "epochs from one validation to the next",
    "num_sanity_val_steps": "batches to validate before training, as a trial; left out: 2",
    "log_every_n_steps": "steps from one logged loss to the next; left out: 50",
    "enable_checkpointing": "whether Lightning's own checkpoints may be kept beside those of the suite; left out: true",
    "enable_progress_bar": "whether a terminal shows how far a run is (--quiet: nothing at all); left out: true",
    "enable_model_summary": "whether the layers are listed before training, as the verb summary does; left out: false",
    "gradient_clip_algorithm": "what --trainer.gradient_clip_val limits: norm or value; left out: norm",
    "benchmark": "let cuDNN try which algorithm is fastest at the sizes of the images; left out: as torch is set",
    "inference_mode": "evaluate without any record for gradients, which is faster than without gradients alone",
    "use_distributed_sampler": "not used: the suite's samplers share the cases among devices",
    "profiler": "Lightning's profiler (simple, advanced, pytorch); left out: none (--profile is the suite's own)",
    "detect_anomaly": "name the layer in which a value that is no number (NaN) first appears; slow",
    "barebones": "train without all that costs time beside the steps, for benchmarks of Lightning",
    "plugins": "plugins of Lightning's, by their classes; left out: none",
    "sync_batchnorm": "batch norms take the images of all devices together",
    "reload_dataloaders_every_n_epochs": "epochs after which loaders are made anew; 0: never",
    "default_root_dir": "folder of Lightning's own files; left out: the run folder",
    "enable_autolog_hparams": "hand the model's settings to the logger",
    "model_registry": "name of a model in Lightning's cloud that checkpoints are uploaded to; left out: none",
}


def trainer_lines(cls: type, *, trains: bool, whole: bool, defaults: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Help of the trainer's flags.

    Args:
        cls: Lightning's trainer.
        trains: the verb trains.
        whole: all flags, not those alone that most runs need.
        defaults: of the suite's, in the place of Lightning's.
    """
    known = known_of(cls)
    names = list(dict.fromkeys([*FIRST, *known])) if whole else FIRST
    rows = []
    for name in names:
        if name not in known or (not whole and not trains and name in OF_TRAINING):
            continue
        one = Known(known[name].kind, defaults.get(name, known[name].default))
        text = TRAINER.get(name, "of Lightning's trainer, as its documentation has it; left out: its default")
        flag = f"--trainer.{name}"
        note = "of training alone" if name in OF_TRAINING and not trains else ""
        rows.append((f"{flag}+" if name == "callbacks" and not whole else flag, line(flag, text, one, note)))
    return rows

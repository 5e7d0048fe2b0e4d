"""Commands that come next, to copy: each runs as it is printed."""

from __future__ import annotations

from pathlib import Path

from datamodules.base import ScanDataModule
from tasks.cli.runs.running import command
from tasks.registry.specs import spec_of


def after_fit(task: str, run_dir: Path, data: ScanDataModule, epochs: int | None, *, trained: bool) -> str:
    """What to do with a trained model, one command below the other; no line is broken, so that they can be copied.

    Args:
        task: name of the task.
        run_dir: of the training, with ``checkpoints/best.ckpt``.
        data: it was trained on.
        epochs: that it was trained for; None: not counted in epochs.
        trained: whether it took a step, so that more of them may gain something: a head fitted to features has none.
    """
    best = run_dir / "checkpoints" / "best.ckpt"
    verb, part = ("test", "test") if len(data.rows("test")) else ("validate", "validation")
    image = _an_image(data)
    if image is None:
        apply = f"{spec_of(task).program} predict --help"
    else:
        apply = command(task, "predict", ckpt_path=best, input=image, output=run_dir / "predicted")
    lines = [
        (
            f"evaluate it on its {part} part; for other cases add --data and its flags",
            command(task, verb, ckpt_path=best),
        ),
        ("apply it to files or folders of your own" + ("" if image is None else ", as here to an image"), apply),
    ]
    if trained:
        length = {} if epochs is None or epochs < 1 else {"trainer.max_epochs": epochs}
        onwards = command(task, "fit", config=run_dir / "config.yaml", **{"model.weights": best, **length})
        lines.append(("train longer, from its weights, in a new run", onwards))
    return "\n".join(["next:", *(f"  # {why}\n  {typed}" for why, typed in lines)])


def _an_image(data: ScanDataModule) -> Path | None:
    """The first file that a model can be applied to; None where images are not whole files."""
    images = data.table.images
    if not len(images) or not (images["frame"] < 0).any():
        return None
    path = data.root / str(images["path"][images["frame"] < 0].iat[0])
    return path if path.is_file() else None

"""What ``fit --profile true`` says at the end: the table, and the advice that follows by stated rules."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.training.profile.device_times import BETWEEN
from tasks.training.profile.parts import CHECKPOINTS, GAP, IN_STEPS, PARTS, PROFILING, VALIDATION, WAIT

# The rules of the advice, as shares of the time (of the memory).
WAITS, GAPS, VALIDATES, SAVES = 0.10, 0.10, 0.30, 0.10
BUSY, FULL = 0.80, 0.40


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: of the card.
        capacity: bytes.
        peak: bytes that tensors took at most.
        milliseconds: of a step on the device's own clock, by part; empty where none was sampled.
        kernels: milliseconds of a step in which a kernel runs; None where no step was traced.
        traced: number of steps that were.
    """

    name: str
    capacity: int
    peak: int
    milliseconds: dict[str, float]
    kernels: float | None
    traced: int


@dataclass(frozen=True)
class Measurement:
    """What one rank measured.

    Attributes:
        seconds: by part.
        before: seconds up to the first step that counts.
        steps: that count; likewise ``images`` and ``epochs`` (those that ended).
        step: median seconds of a step; None where there were too few.
        memory: bytes that the process and its loaders held at most; 0: unknown.
        device: the GPU, if any.
    """

    seconds: dict[str, float]
    before: float
    steps: int
    images: int
    epochs: int
    step: float | None
    memory: int
    device: Device | None


@dataclass(frozen=True)
class Settings:
    """Flags of the run that advice may name.

    Attributes:
        batch_size: images a step and device.
        workers: loader processes of a rank.
        cores: of the machine that this rank may use.
        cache: ``--data.cache``.
        augment_on: where the data are augmented; None where that is not settled.
        compiled: whether the networks are.
    """

    batch_size: int
    workers: int
    cores: int
    cache: str = "none"
    augment_on: str | None = None
    compiled: bool = False


@dataclass(frozen=True)
class Report:
    """The profile of a training.

    Attributes:
        ranks: what each measured.
        settings: of the run.
    """

    ranks: Sequence[Measurement]
    settings: Settings

    @property
    def seconds(self) -> dict[str, float]:
        """Of each part, the mean over ranks."""
        return {part: statistics.mean(rank.seconds.get(part, 0.0) for rank in self.ranks) for part in PARTS}

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())

    @property
    def shares(self) -> dict[str, float]:
        """Of each part, in 0..1."""
        total = self.total or 1.0
        return {part: spent / total for part, spent in self.seconds.items()}

    def spread(self, part: str) -> tuple[float, float]:
        """Least and largest share of a part over the ranks."""
        shares = [rank.seconds.get(part, 0.0) / (sum(rank.seconds.values()) or 1.0) for rank in self.ranks]
        return min(shares), max(shares)

    @property
    def images_per_second(self) -> tuple[float, float]:
        """Of all ranks: within the steps, and over all of the time but the profile's own."""
        images = sum(rank.images for rank in self.ranks)
        steps = sum(self.seconds[part] for part in IN_STEPS)
        whole = self.total - self.seconds[PROFILING]
        return images / steps if steps else 0.0, images / whole if whole else 0.0

    @property
    def device(self) -> Device | None:
        """The GPU of the first rank."""
        return self.ranks[0].device

    @property
    def busy(self) -> float | None:
        """Share of a step in which a kernel runs on the GPU, 0..1."""
        device, step = self.device, self.ranks[0].step
        if device is None or device.kernels is None or not step:
            return None
        return min(1.0, device.kernels / (1000 * step))

    @property
    def waiting(self) -> float:
        """Share of the time in which data were waited for, within epochs and at their beginnings.

        Where the host waits while the GPU has work left, nothing is lost: on a GPU it is no more than the share of a
        step in which its stream has nothing of a step to do.
        """
        share = self.shares[WAIT]
        device = self.device
        if device is not None and device.milliseconds:
            share = min(share, device.milliseconds.get(BETWEEN, 0.0) / sum(device.milliseconds.values()))
        return share

    def advice(self) -> list[str]:
        """One to three lines, each of which names a flag."""
        told = [self._about_data(), self._about_device(), self._about_epochs(), self._about_memory()]
        return [line for line in told if line][:3]

    def _about_data(self) -> str:
        if self.waiting <= WAITS:
            return ""
        settings, ways = self.settings, []
        if settings.workers < settings.cores - 1:
            ways.append(f"more loader processes (--data.num_workers {settings.cores - 1})")
        if settings.cache == "none":
            ways.append("images kept as they are read (--data.cache auto)")
        if self.device is not None and settings.augment_on == "cpu":
            ways.append("augmentation on the GPU (--data.augment_on gpu)")
        if not ways:
            ways.append("less augmentation (--data.augment light), or more cores")
        return f"{self.waiting:.0%} of the time went by waiting for data: {', '.join(ways)}"

    def _about_device(self) -> str:
        busy = self.busy
        if busy is None or busy >= BUSY or self.waiting > WAITS:
            return ""
        way = "a larger batch (--data.batch_size)" if self.settings.compiled else "--compile reduce-overhead"
        return f"the GPU is busy {busy:.0%} of a step, and waits for Python in the rest: {way}"

    def _about_epochs(self) -> str:
        shares, rarely = self.shares, "validate less often (--trainer.check_val_every_n_epoch 5)"
        if shares[VALIDATION] > VALIDATES:
            return f"validation took {shares[VALIDATION]:.0%} of the time: {rarely}"
        if shares[CHECKPOINTS] > SAVES:
            return f"writing checkpoints took {shares[CHECKPOINTS]:.0%} of the time: use a faster disk (--run_dir)"
        if shares[GAP] > GAPS:
            keep = "" if self.settings.cache != "none" else ", and keep the images (--data.cache auto)"
            return f"{shares[GAP]:.0%} of the time lay between the epochs, which are short: {rarely}{keep}"
        return ""

    def _about_memory(self) -> str:
        device = self.device
        if device is None or device.peak >= FULL * device.capacity:
            return ""
        larger = self.settings.batch_size * 2 ** max(
            1, int(0.8 * device.capacity / max(1, device.peak)).bit_length() - 1
        )
        return (
            f"the GPU's memory was used to {device.peak / device.capacity:.0%}: a larger batch may be faster "
            f"(--data.batch_size {larger}, with another --model.lr)"
        )

    def text(self) -> str:
        """The table, what was measured beside it, and the advice."""
        if not any(rank.steps for rank in self.ranks):
            return "profile: the training had too few steps to say where its time went\n"
        first = self.ranks[0]
        head = ["part of the training", "seconds", "share"]
        several = len(self.ranks) > 1
        on_device = {} if first.device is None else first.device.milliseconds
        rows = []
        for part in PARTS:
            if part == PROFILING and self.seconds[part] == 0:
                continue
            row = [part, f"{self.seconds[part]:.2f}", f"{self.shares[part]:.1%}"]
            if several:
                row.append(" to ".join(f"{share:.1%}" for share in self.spread(part)))
            if on_device:
                row.append(f"{on_device[part]:.2f}" if part in on_device else "")
            rows.append(row)
        last = ["all", f"{self.total:.2f}", "100.0%", *([""] if several else [])]
        rows.append([*last, f"{sum(on_device.values()):.2f}"] if on_device else last)
        head += ["over ranks"] * several + ["GPU ms a step"] * bool(on_device)
        lines = [
            f"profile of {first.steps} steps in {first.epochs} epochs"
            + (f" on {len(self.ranks)} ranks (means)" if several else "")
            + f"; the {first.before:.1f} s before them, first steps and all, are left out",
            *_laid_out([head, *rows]),
            *self._facts(),
            *(f"advice: {line}" for line in self.advice() or ["nothing stands out"]),
        ]
        return "\n".join(lines) + "\n"

    def _facts(self) -> list[str]:
        within, whole = self.images_per_second
        facts = [f"images a second: {within:.1f} within the steps, {whole:.1f} with all that lies between them"]
        device, step = self.device, self.ranks[0].step
        if device is not None:
            facts.append(f"{device.name}: at most {_gib(device.peak)} of {_gib(device.capacity)} taken")
            if self.busy is not None and step is not None:
                facts.append(
                    f"busy {self.busy:.0%} of a step: kernels run for {device.kernels:.2f} ms (traced over "
                    f"{device.traced} steps) of {1000 * step:.2f} ms (median of steps that were not traced)"
                )
            if device.milliseconds.get(BETWEEN):
                facts.append(
                    f"between two steps the GPU's stream had {device.milliseconds[BETWEEN]:.2f} ms of nothing to do"
                )
        memory = sum(rank.memory for rank in self.ranks)
        if memory:
            facts.append(f"memory of the machine: at most {_gib(memory)} seen, loader processes and all")
        return facts

    def json(self) -> str:
        """All of it, for programs."""
        within, whole = self.images_per_second
        said: dict[str, Any] = {
            "seconds": self.seconds,
            "shares": self.shares,
            "shares_over_ranks": {part: self.spread(part) for part in PARTS},
            "images_per_second": {"steps": within, "all": whole},
            "gpu_busy": self.busy,
            "waiting": self.waiting,
            "advice": self.advice(),
            "settings": asdict(self.settings),
            "ranks": [asdict(rank) for rank in self.ranks],
        }
        return json.dumps(said, indent=2) + "\n"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _laid_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as text: names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    names, *numbers = widths
    return [
        "  ".join(
            [name.ljust(names), *(cell.rjust(width) for cell, width in zip(cells, numbers, strict=True))]
        ).rstrip()
        for name, *cells in rows
    ]

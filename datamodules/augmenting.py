"""The training augmentation of a data module: its ranges, and where it runs."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from datamodules.cases.sides import have_sides, refuse_mirrors
from datamodules.preprocess import Preprocess
from datamodules.transforms.names import AugmentArgs, TransformList
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from datamodules.samples.annotation import Annotation
    from datamodules.transforms.device.augmentation import DeviceAugmentation
    from datamodules.transforms.pipeline import Augmentation

log = logging.getLogger(__name__)

AugmentOn = Literal["auto", "cpu", "gpu"]
AugmentPlace = Literal["cpu", "gpu"]

_FLAG = "--data.augment_on"
_NO_GPU = f"{_FLAG} gpu: this training does not run on a CUDA GPU: leave it out, or give cpu"


def preset_and_changes(augment: TransformList | str, args: AugmentArgs | None) -> tuple[str, AugmentArgs]:
    """Preset and what changes it; a list of Albumentations in the preset's place follows no preset.

    Args:
        augment: name of a preset, or a list as ``transforms`` of ``args`` has it.
        args: of the user's; None: none.

    Raises:
        SuiteError: there are two lists.
    """
    args = args or AugmentArgs()
    if isinstance(augment, str):
        return augment, args
    if args.transforms:
        raise SuiteError("--data.augment and --data.augment_args.transforms are both lists: put them into one")
    return "none", replace(args, transforms=augment)


class TrainingAugmentation:
    """What a data module knows of its training augmentation.

    Attributes:
        augment: preset.
        augment_args: ranges and transforms that change it.
        augment_on: where the user wants it to run.
        sided: whether classes have sides, as the user says.
        has_boxes: whether it moves boxes too.
        augment_place: where it runs, once that is settled (:meth:`settle_augmentation`).
        augmented_on_gpu_before: the training goes on from one that was augmented on a GPU, so that its numbers are
            those of the GPU wherever it goes on.
    """

    augment: str
    augment_args: AugmentArgs
    augment_on: AugmentOn
    sided: bool | None
    has_boxes: ClassVar[bool] = False
    augment_place: AugmentPlace | None = None
    augmented_on_gpu_before: bool = False

    trainer: Trainer | None

    @property
    def preprocess(self) -> Preprocess:
        """The spec of the images that the model sees."""
        raise NotImplementedError(f"{type(self).__name__} has no spec of its images")

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the images that the model is trained on."""
        raise NotImplementedError(f"{type(self).__name__} has no size of its images")

    @property
    def in_channels(self) -> int:
        """Channels of the images the model sees."""
        return self.preprocess.channels

    def annotations(self, *, augmented: bool) -> tuple[Annotation[Any], ...]:
        """Annotations of images."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its images are annotated with")

    def build_augmentation(self) -> Augmentation:
        """The augmentation by Albumentations for the images the model sees; refused here if it cannot take them."""
        from datamodules.transforms.presets import build_augmentation

        return build_augmentation(
            self.augment,
            **self._ranges(),
            transforms=self.augment_args.transforms,
            channels=self.in_channels,
            size=self.input_size,
            boxes=self.has_boxes,
        )

    def listed_transforms(self) -> list[type[Any]]:
        """Classes of the transforms that the user lists."""
        from datamodules.transforms.listed import listed_classes

        return listed_classes(self.augment_args.transforms or ())

    def training_augmentation(self) -> Augmentation | DeviceAugmentation:
        """The augmentation where it runs: by Albumentations in the loader's processes, or by batch on a GPU."""
        if (self.augment_place or self._place(cuda=self._trains_on_cuda())[0]) == "cpu":
            return self.build_augmentation()
        from datamodules.transforms.device.augmentation import DeviceAugmentation
        from datamodules.transforms.presets import resolved_ranges

        config = resolved_ranges(self.augment, channels=self.in_channels, **self._ranges())
        return DeviceAugmentation(config, self.in_channels, self.input_size)

    def check_augmentation(self, *, cuda: bool) -> None:
        """Refuse before anything is written what training would refuse.

        Args:
            cuda: the training will run on a CUDA GPU.

        Raises:
            SuiteError: the augmentation cannot take the images, or cannot run where it is asked for.
        """
        self.build_augmentation()
        if self.augment_on not in get_args(AugmentOn):
            raise SuiteError(f"{_FLAG} {self.augment_on}: one of {', '.join(get_args(AugmentOn))}")
        if self.augment_on != "gpu":
            return
        if self.augment_args.transforms:
            raise SuiteError(
                f"{_FLAG} gpu: a list of transforms is Albumentations', which run on the CPU: leave one of the two out"
            )
        if kinds := self._for_albumentations():
            raise SuiteError(f"{_FLAG} gpu: {kinds} is moved by Albumentations alone, on the CPU: leave it out")
        if not cuda and not self.augmented_on_gpu_before:
            raise SuiteError(_NO_GPU)

    def settle_for_training(self) -> None:
        """Settle the place by the trainer, where there is one and nobody has done so before.

        Raises:
            SuiteError: a GPU was asked for, and the trainer does not use one.
        """
        if self.augment_place is not None or self.trainer is None:
            return
        cuda = self._trains_on_cuda()
        if self.augment_on == "gpu" and not cuda:
            raise SuiteError(_NO_GPU)
        self.settle_augmentation(cuda=cuda)

    def settle_augmentation(self, *, cuda: bool) -> AugmentPlace:
        """Decide where the augmentation runs, for good, and say why where that is not plain.

        Args:
            cuda: the training runs on a CUDA GPU.
        """
        self.augment_place, why = self._place(cuda=cuda)
        if why:
            log.info("augmentation on the %s: %s", self.augment_place.upper(), why)
        return self.augment_place

    @cached_property
    def has_sides(self) -> bool:
        """Whether a mirrored image may show another class: as the user says, else by the names of the classes."""
        return have_sides(getattr(self, "class_names", ()), self.sided, self.augment)

    def _refuse_mirrors(self) -> None:
        """Refuse what the user asks for and classes with sides do not bear."""
        refuse_mirrors(self.augment_args)

    def _ranges(self) -> dict[str, Any]:
        """The user's changes to the preset, without those that the images do not bear."""
        ranges = asdict(self.augment_args)
        del ranges["transforms"]
        if len(self.preprocess.windows) > 1:
            ranges["color"] = 0.0  # the channels are windows of one scan, no colours
        if self.has_sides:
            self._refuse_mirrors()
            ranges["horizontal_flip"] = ranges["vertical_flip"] = False
        return ranges

    def _place(self, *, cuda: bool) -> tuple[AugmentPlace, str]:
        """Where the augmentation runs, and why where a user might expect another place."""
        if self.augment_on == "gpu":
            return "gpu", "" if cuda else "as the run began on a GPU, with the same numbers"
        if self.augment_on == "cpu" or not cuda:
            return "cpu", ""
        if self.augment_args.transforms:
            return "cpu", "a list of transforms is Albumentations'"
        if kinds := self._for_albumentations():
            return "cpu", f"{kinds} is moved by Albumentations alone"
        return "gpu", "by batch (--data.augment_on cpu: by Albumentations in the loader's processes)"

    def _for_albumentations(self) -> str:
        """Kinds of annotations that no augmentation of whole batches moves."""
        return ", ".join(type(one).__name__ for one in self.annotations(augmented=True) if not one.by_batch)

    def _trains_on_cuda(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

"""The textbook networks that timm lacks, one a file; importing this package registers them in timm's own registry."""

from backbones.classic import alexnet, cbam_resnet, googlenet, lenet5, small_cnn

NAMES = (
    "small_cnn", "lenet5", "alexnet", "googlenet", "cbam_resnet18", "cbam_resnet34", "cbam_resnet50"
)  # fmt: skip

__all__ = ["NAMES", "alexnet", "cbam_resnet", "googlenet", "lenet5", "small_cnn"]

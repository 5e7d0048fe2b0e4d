from __future__ import annotations

from typing import Any

import pytest

from backbones.network import REFUSED
from backbones.pyramid import Backbone
from scansuite.errors import SuiteError


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("resnet81", {}, r"unknown backbone 'resnet81' .*did you mean 'resnet\d+'"),
        ("efficientnet-b0", {}, "did you mean 'efficientnet_b0'"),
        ("resnet18.a1_in1", {}, "unknown weights tag .*did you mean 'resnet18.a1_in1k'"),
        ("resnet18", {"depth": 3}, "takes no argument 'depth'"),
        ("resnet18", {"in_chans": 3}, "'in_chans': it is set by the data's channels"),
        ("inception_v3", {"image_size": (64, 64)}, "images of 64x64: .*its own size is 299x299"),
        ("nest_tiny", {"image_size": (96, 128)}, "images of 96x128: .*square"),
        ("csatv2", {"in_channels": 1}, "cannot take 1-channel images"),
    ],
)
@pytest.mark.filterwarnings("ignore:CSATv2 is designed")
def test_refused_in_one_line_with_the_mend(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        Backbone(name, **args)
    assert "\n" not in str(caught.value)


def test_refused_by_name_and_reason() -> None:
    for prefix, reason in REFUSED.items():
        with pytest.raises(SuiteError, match=reason[:30]):
            Backbone(f"{prefix}_167m")


@pytest.mark.parametrize("name", ["hardcorenas_a", "resnet18.a1_in1k", "levit_128s"])
def test_not_refused(name: str) -> None:
    assert Backbone(name, strides=[16], image_size=(64, 64)).strides == [16]

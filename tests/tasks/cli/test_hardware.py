"""Memory format, and what stays in float32 where a CPU autocasts."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from tasks.cli.hardware import place


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.fast = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.strided = nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8)
        self.wide = nn.Conv2d(8, 8, 5, padding=2, groups=8)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs: dict[str, torch.Tensor] = {name: module(image) for name, module in self.named_children()}
        return outputs


def test_slow_depthwise_convolutions_stay_in_float32() -> None:
    net, image = Net(), torch.rand(2, 8, 12, 12)
    before = net(image)
    keys = list(net.state_dict())
    assert place(net, "auto") == place(net, "auto") == "channels_last"
    assert list(net.state_dict()) == keys
    for name, output in net(image).items():
        torch.testing.assert_close(output, before[name])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        types = {name: output.dtype for name, output in net(image).items()}
        again = pickle.loads(pickle.dumps(net))(image)
    low, full = torch.bfloat16, torch.float32
    assert types == {"plain": low, "fast": low, "strided": full, "wide": full}
    assert {name: output.dtype for name, output in again.items()} == types
    torch.testing.assert_close(again["wide"], before["wide"])


@pytest.mark.parametrize(("asked", "last"), [("auto", True), ("channels_last", True), ("contiguous", False)])
def test_memory_format(asked: str, last: bool) -> None:
    net = Net()
    place(net, asked)  # type: ignore[arg-type]
    assert net.plain.weight.is_contiguous(memory_format=torch.channels_last) == last

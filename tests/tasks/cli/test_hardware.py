"""Memory format, what stays in float32 where a CPU computes in bf16, and the allocator."""

from __future__ import annotations

import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tasks.classify.task import ClassificationTask
from tasks.hardware import exact_float32, place
from tests.tasks.cli.conftest import KINDS, TINY, Run

ROOT = Path(__file__).resolve().parents[3]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.fast = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.strided = nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8)
        self.wide = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.halved = nn.Conv2d(8, 8, 3, padding=1, stride=2)

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
    assert types == {"plain": low, "fast": low, "strided": full, "wide": full, "halved": low}
    assert {name: output.dtype for name, output in again.items()} == types
    torch.testing.assert_close(again["wide"], before["wide"])


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(3, 2, 1), (3, 2, 2), (7, 2, 1), (5, 3, 2), (4, 4, 3), (4, 4, 4)]
)
@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_of_images_narrower_than_a_stride_are_no_leftover_memory(
    kernel: int, stride: int, side: int, groups: int
) -> None:
    """oneDNN leaves parts of them unwritten in bf16."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(64, 64, kernel, stride, kernel // 2, groups=groups))
    place(net, "auto")
    convolution: Any = net[0]
    image = torch.rand(2, 64, side, side)
    net(image).square().mean().backward()
    exact = convolution.weight.grad.clone()

    def check(image: torch.Tensor, dtype: torch.dtype, *, autocast: bool) -> None:
        for _ in range(3):
            leftovers = [torch.full((convolution.weight.numel() * times,), 3e38) for times in (1, 2, 4)]
            del leftovers
            convolution.weight.grad = None
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                output = net(image)
            assert output.dtype == dtype
            output.float().square().mean().backward()
            found = convolution.weight.grad.float()
            torch.testing.assert_close(found, exact, rtol=0.1, atol=0.03 * float(exact.abs().max()))

    check(image, torch.float32 if side < stride else torch.bfloat16, autocast=True)
    net.bfloat16()
    check(image.bfloat16(), torch.bfloat16, autocast=False)


def test_weights_in_bf16_under_autocast_and_images_by_name() -> None:
    net = Net()
    place(net, "auto")
    assert net.halved(input=torch.rand(1, 8, 1, 1)).shape == (1, 8, 1, 1)
    net.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.halved(torch.rand(1, 8, 1, 1)).dtype == net.wide(torch.rand(1, 8, 6, 6)).dtype == torch.bfloat16


def test_on_a_gpu_no_convolution_is_wrapped() -> None:
    """There is nothing to gain there, and the compiler would have to look through it."""
    net = Net()
    place(net, "auto")
    assert "forward" in vars(net.wide)
    assert "forward" in vars(net.halved)
    assert place(net, "auto", "cuda") == "channels_last"
    assert not any("forward" in vars(module) for module in net.modules())


@pytest.mark.parametrize(("asked", "last"), [("auto", True), ("channels_last", True), ("contiguous", False)])
def test_memory_format(asked: str, last: bool) -> None:
    net = Net()
    place(net, asked)  # type: ignore[arg-type]
    assert net.plain.weight.is_contiguous(memory_format=torch.channels_last) == last


# Blocks freed below one that stays cannot leave the heap; those of their own mapping can.
FREED = """
import resource, sys
import numpy as np
from tasks.hardware import keep_memory_flat
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 2**20
if sys.argv[1] == "flat":
    keep_memory_flat()
raises_the_threshold = np.ones(3_000_000)
del raises_the_threshold
before = resident()
blocks = [np.ones(250_000) for _ in range(100)]
stays = np.ones(10_000)
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_freed_memory_goes_back() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC"))}

    def left(how: str, **environment: str) -> int:
        command = [sys.executable, "-c", FREED, how]
        environment = {**clean, **environment, "PYTHONPATH": str(ROOT)}
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert left("flat") < 10
    if left("as it is") <= 150:
        pytest.skip("what is freed goes back by itself here: another glibc, or a NumPy that allocates otherwise")
    assert left("flat", MALLOC_MMAP_THRESHOLD_=str(2**25)) > 150  # the user's own word


def precisions() -> list[str]:
    """How float32 products are computed: of matrices and convolutions, on GPUs of NVIDIA and by oneDNN."""
    backends: Any = torch.backends
    parts = (
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
        backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn,
    )  # fmt: skip
    return [part.fp32_precision for part in parts]


EXACT = ["ieee"] * 6


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("_as_it_was")
@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
def test_float32_is_exact_for_a_while(asked: str) -> None:
    cudnn: Any = torch.backends.cudnn
    torch.set_float32_matmul_precision(asked)
    before = precisions()
    assert before[1] == "tf32", "torch's default for convolutions"
    with exact_float32():
        assert precisions() == EXACT
        assert not cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
    assert precisions() == before
    assert cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == asked


def test_evaluating_and_predicting_are_exact_and_training_is_as_it_was(
    run: Run, table_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions went through TF32 on a GPU, so metrics depended on the machine."""
    seen: dict[str, list[list[str]]] = {}
    forward = ClassificationTask.forward

    def watched(self: ClassificationTask, *inputs: Any) -> Any:
        fn = self.trainer.state.fn
        assert fn is not None
        seen.setdefault(fn.value, []).append(precisions())
        return forward(self, *inputs)

    before = precisions()
    monkeypatch.setattr(ClassificationTask, "forward", watched)
    data = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"]]
    status, _, err = run("fit", *data, *TINY, "--run_dir", "run")
    assert status == 0, err
    checkpoint = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    status, _, err = run("predict", *checkpoint, "--input", table_root / "images", "--output", "out")
    assert status == 0, err
    assert set(seen) == {"fit", "validate", "test", "predict"}
    for stage, found in seen.items():
        assert found == [before if stage == "fit" else EXACT] * len(found), stage
    assert precisions() == before

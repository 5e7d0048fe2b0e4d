"""The loss on the screen comes from a GPU without waiting for it."""

from __future__ import annotations

import pytest
import torch

from tasks.cli.display.training import _LastLoss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_a_loss_is_shown_once_it_is_there() -> None:
    last = _LastLoss()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        last.look(torch.tensor(0.5).pin_memory().to("cuda", non_blocking=True))
        assert last.text == ""
    finally:
        torch.cuda.set_sync_debug_mode(before)
    torch.cuda.synchronize()
    last.look(torch.tensor(0.25, device="cuda"))
    assert last.text == "loss 0.5000"

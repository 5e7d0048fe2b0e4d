from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tasks.segment.tta import averaged


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Softmax(dim=1)).eval()


@torch.no_grad()
def test_flips_are_the_mean_of_four_views_flipped_back() -> None:
    predict, image = network(), torch.rand(2, 2, 9, 14)
    views: list[Tensor] = []
    for rows in (False, True):
        for columns in (False, True):
            seen = image.numpy()
            seen = seen[:, :, ::-1] if rows else seen
            seen = seen[..., ::-1] if columns else seen
            back = predict(torch.from_numpy(seen.copy())).numpy()
            back = back[:, :, ::-1] if rows else back
            back = back[..., ::-1] if columns else back
            views.append(torch.from_numpy(back.copy()))
    found = averaged(predict, image, "flips")
    torch.testing.assert_close(found, torch.stack(views).mean(dim=0))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 9, 14))
    assert not torch.allclose(found, views[0], atol=1e-4)
    # A flipped image has the flipped mask.
    torch.testing.assert_close(averaged(predict, image.flip(-1), "flips"), found.flip(-1))
    torch.testing.assert_close(averaged(predict, image.flip(-2), "flips"), found.flip(-2))


@torch.no_grad()
def test_none_predicts_once_and_changes_nothing() -> None:
    calls = []
    predict, image = network(), torch.rand(1, 2, 6, 5)

    def counted(view: Tensor) -> Tensor:
        calls.append(view)
        found: Tensor = predict(view)
        return found

    assert torch.equal(averaged(counted, image, "none"), predict(image))
    assert len(calls) == 1
    averaged(counted, image, "flips")
    assert len(calls) == 5
    with pytest.raises(KeyError):
        averaged(counted, image, "flip")  # type: ignore[arg-type]

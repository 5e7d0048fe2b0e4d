from __future__ import annotations

import torch

from tasks.normalize import Normalize


def test_mean_and_deviation_by_channel() -> None:
    image = torch.rand(2, 3, 5, 7)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    result = Normalize(mean, std)(image)
    for channel in range(3):
        torch.testing.assert_close(result[:, channel], (image[:, channel] - mean[channel]) / std[channel])


def test_the_numbers_are_saved_and_not_trained() -> None:
    layer = Normalize([0.1, 0.2], [0.3, 0.4])
    assert list(layer.parameters()) == []
    other = Normalize([0.0, 0.0], [1.0, 1.0])
    other.load_state_dict(layer.state_dict())
    image = torch.rand(1, 2, 3, 3)
    torch.testing.assert_close(other(image), layer(image))


def test_per_image_uses_all_pixels_and_channels_of_each_image() -> None:
    image = torch.rand(4, 2, 8, 8) * torch.tensor([1.0, 0.5, 0.1, 3.0]).view(4, 1, 1, 1) + 5
    result = Normalize([0.5, 0.5], [0.1, 0.1], per_image=True)(image)
    flat = result.flatten(1)
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(dim=1), torch.ones(4), atol=1e-4, rtol=0)
    # Channels keep their difference: they are not normalised one by one.
    image[:, 1] += 1
    apart = Normalize([0.5, 0.5], [0.1, 0.1], per_image=True)(image)
    assert (apart[:, 1].mean() - apart[:, 0].mean()) > 0.5


def test_an_image_of_one_grey_stays_finite() -> None:
    result = Normalize([0.0], [1.0], per_image=True)(torch.full((1, 1, 4, 4), 0.3))
    assert result.isfinite().all()
    assert result.abs().max() < 1

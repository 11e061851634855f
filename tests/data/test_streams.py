"""Streams and frames: what does not fit is refused, and a picture of any number of channels is scaled channel by channel."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.data.streams import ArrayFrames, SourceError, Stream


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_each_channel_is_the_mean_over_its_own_area(channels: int) -> None:
    rng = np.random.default_rng(channels)
    images = rng.integers(0, 256, (2, 8, 12, channels), dtype=np.uint8)
    images[..., -1] = 0  # no opacity that would darken the others
    scaled = ArrayFrames(images=images).read(np.array([0, 1, 1]), (4, 6))
    means = images.reshape(2, 4, 2, 6, 2, channels).mean((2, 4))
    assert scaled.shape == (3, 4, 6, channels)
    assert np.abs(scaled[[0, 2]] - means).max() <= 1


def test_as_many_values_as_time_stamps() -> None:
    with pytest.raises(SourceError, match=r"log\.csv: 3 timestamps and 2 values"):
        Stream(time=np.arange(3.0), values=np.arange(2.0), where="log.csv")
    with pytest.raises(SourceError, match=r"log\.csv: 2 timestamps and 1 rows"):
        Stream(time=np.arange(2.0), values=np.arange(2.0), rows=np.arange(1), where="log.csv")

"""Episodes on disk, and the windows that training reads from them."""

from tacit.data.description import StoreError
from tacit.data.episode import Episode, EpisodeError
from tacit.data.sampler import WindowSampler, split, split_by_time
from tacit.data.store import Damage, DamagedEpisode, EpisodeStore
from tacit.data.windows import Prefetcher, WindowReader
from tacit.data.writer import EpisodeWriter, StoreBusy, StoreFull

__all__ = [
    "Damage",
    "DamagedEpisode",
    "Episode",
    "EpisodeError",
    "EpisodeStore",
    "EpisodeWriter",
    "Prefetcher",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "WindowReader",
    "WindowSampler",
    "split",
    "split_by_time",
]

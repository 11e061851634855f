"""Perception: what is seen of a moment, as logged -> latents.

One encoder per observation or disturbance signal (images, vectors), and one for the action before where that is seen, too; fused by one
linear map. Dimensions: N frames, A action, D latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.nn.blocks import Standardizer, mlp
from tacit.signals import Role, Schema, SchemaError, Signal

PATCH = 4  # pixels per side that the first convolution reads at once
COARSEST = 4  # the feature map is halved until its shorter side is at most this
SHARPNESS = 2.0  # of keypoints: what a feature map is multiplied by before the softmax over its places


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Settings of `ObservationEncoder`.

    Attributes:
        channels: Channels of the patch convolution and of each halving convolution; the last one repeats for larger images.
        features: Width of each signal's feature vector before fusion.
        linear: Standardised numbers go into the latent by a linear map, and not through networks: what a sensor shows is in the latent
            with all its digits, and what is not linear is left to the predictor.
        exact: These numbers are the first dimensions of the latent, whatever else is learned: only the others are a linear map of all that
            is seen. It takes `linear`.
        held: A number that is missing counts as what stands in for it, the last good one; otherwise as the mean.
        peaks: Regions per side of an image of which each gives a number besides, how bright its brightest patch is, and so does the whole
            image: of a thermal image, how hot the hottest place is, wherever it is. 0 for none.
        keypoints: Where each feature is found in an image, on every feature map, goes into the latent besides, by a linear map: places
            are then told to a fraction of a pixel, and change smoothly where a thing moves.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    features: int = 256
    linear: bool = False
    exact: bool = False
    held: bool = False
    peaks: int = 0
    keypoints: bool = False


class ImageEncoder(nn.Module):
    """Patches, then strided convolutions, then one linear layer that keeps positions apart.

    Non-overlapping patches cost a quarter of the usual overlapping stem and see sub-pixel motion just as well, because the
    following layers read the intensities inside each patch linearly.

    Args:
        signal: An image signal, (height, width, channels) uint8.
        config: Widths.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        height, width, colours = signal.shape
        if height % PATCH or width % PATCH:
            raise SchemaError(f"image {signal.name!r} is {height} x {width}; height and width must be multiples of {PATCH}")
        self.standardize = Standardizer((colours,))
        self.patches = nn.Linear(PATCH * PATCH * colours, config.channels[0])
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        before, height, width, depth = config.channels[0], height // PATCH, width // PATCH, 1
        while min(height, width) > COARSEST or depth < len(config.channels):
            after = config.channels[min(depth, len(config.channels) - 1)]
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU(inplace=True)]
            before, height, width, depth = after, (height + 1) // 2, (width + 1) // 2, depth + 1
        mapped = sum(layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)) + config.channels[0]
        layers += [nn.Flatten(), nn.Linear(before * height * width, config.features), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.peaks, self.numbers = config.peaks, numbers_of_image(config)
        self.peak = Standardizer((self.numbers,)) if config.peaks else None
        self.keypoints = config.keypoints
        self.features = config.features + (2 * mapped if config.keypoints else 0) + self.numbers

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, height, width, channels) uint8 -> features (N, F)."""
        count, height, width, colours = frames.shape
        # Whole rows at once: the same numbers as `standardize`, ten times faster than a last dimension of three allows.
        row = frames.flatten(2).to(_compute_dtype(frames))
        mean, scale = self.standardize.mean.repeat(width), self.standardize.std.reciprocal().repeat(width)
        row = row.sub_(mean.to(row.dtype)).mul_(scale.to(row.dtype))
        # A patch convolution as one product; its output is a channels-last feature map as it stands.
        cells = row.view(count, height // PATCH, PATCH, width // PATCH, PATCH * colours).transpose(2, 3).flatten(3)
        features = self._of(self.patches(cells).permute(0, 3, 1, 2))
        return features if self.peak is None else torch.cat((features, self.peak(brightest(frames, self.peaks))), dim=-1)

    def _of(self, maps: Tensor) -> Tensor:
        """Patches (N, C, height, width) -> features, and keypoints where they are asked for (N, F)."""
        if not self.keypoints:
            features: Tensor = self.network(maps)
            return features
        found = [keypoints(maps)]
        for layer in self.network:
            maps = layer(maps)
            if isinstance(layer, nn.Conv2d):
                found.append(keypoints(maps))
        return torch.cat((maps, *found), dim=-1)


def keypoints(maps: Tensor) -> Tensor:
    """Where each feature is found, (N, C, height, width) -> C rows and C columns from -1 to 1, (N, 2 C), float32.

    A place is the mean of all places under a softmax of the feature over them (Levine et al., arXiv 1504.00702).
    """
    weights = (SHARPNESS * maps.float()).flatten(2).softmax(-1).view(maps.shape)
    down, across = (torch.linspace(-1.0, 1.0, side, device=maps.device) for side in maps.shape[2:])
    return torch.cat(((weights.sum(3) * down).sum(-1), (weights.sum(2) * across).sum(-1)), dim=1)


def numbers_of_image(config: EncoderConfig) -> int:
    """How many numbers an image gives besides what the network makes of it."""
    return config.peaks**2 + 1 if config.peaks else 0


def brightest(frames: Tensor, regions: int) -> Tensor:
    """How bright the brightest patch is, of the whole frame and of each region: (N, height, width, channels) uint8 -> (N, regions² + 1)
    float32, in grey levels."""
    count, height, width, _ = frames.shape
    patches = frames.flatten(2).view(count, height // PATCH, PATCH, width // PATCH, -1).float().mean((2, 4))
    of_regions = F.adaptive_max_pool2d(patches[:, None], regions).flatten(1)
    return torch.cat((of_regions.amax(1, keepdim=True), of_regions), dim=1)


def _compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of products here: autocast's where it is on. 0 to 255 are whole numbers in every one of them."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


class VectorEncoder(nn.Module):
    """Two layers over a standardised vector, or the vector itself where the settings say so.

    Args:
        signal: A signal of any shape that is not an image; it is flattened.
        config: Widths.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        self.standardize = Standardizer((signal.size,))
        self.network, self.features = _over_numbers(signal.size, config)
        self.numbers = self.features if config.linear else 0

    def forward(self, samples: Tensor) -> Tensor:
        """Samples (N, *shape) -> features (N, F)."""
        features: Tensor = self.network(self.standardize(samples.reshape(len(samples), -1).float()))
        return features


class MaskedVectorEncoder(nn.Module):
    """A vector of which elements may be missing, and the network is told which they are.

    They count as the mean, or as what stands in for them where the settings say so and it is finite.

    Args:
        signal: The signal that has a mask, or of which elements that are not finite are missing.
        config: Widths, and what a missing element counts as.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        self.held, self.linear = config.held, config.linear
        self.standardize = Standardizer((signal.size,))
        self.network, self.features = _over_numbers(signal.size if config.linear else 2 * signal.size, config)
        self.numbers = self.features if config.linear else 0

    def forward(self, samples: Tensor, valid: Tensor) -> Tensor:
        """Samples and their mask, each (N, *shape) -> features (N, F)."""
        values, there = samples.reshape(len(samples), -1).float(), valid.reshape(len(valid), -1)
        known = torch.where(values.isfinite() if self.held else there, self.standardize(values), 0.0)
        features: Tensor = self.network(known if self.linear else torch.cat((known, there.float()), dim=1))
        return features


def _over_numbers(size: int, config: EncoderConfig) -> tuple[nn.Module, int]:
    """What standardised numbers go through before fusion, and how many come out."""
    if config.linear:
        return nn.Identity(), size
    return nn.Sequential(mlp((size, config.features, config.features)), nn.ReLU(inplace=True)), config.features


class MaskedImageEncoder(nn.Module):
    """A camera that may be dark: a learned vector then stands for its features.

    Args:
        signal: The camera that has a mask.
        config: Widths.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        self.camera = ImageEncoder(signal, config)
        self.features, self.numbers = self.camera.features, self.camera.numbers
        self.absent = nn.Parameter(torch.zeros(self.features))

    @property
    def standardize(self) -> Standardizer:
        return self.camera.standardize

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Frames (N, height, width, channels) uint8 and their mask (N,) -> features (N, F)."""
        features = self.camera(frames)
        return torch.where(valid[:, None], features, self.absent.to(features.dtype))


Encoder = ImageEncoder | VectorEncoder | MaskedVectorEncoder | MaskedImageEncoder


def encoder_of(signal: Signal, config: EncoderConfig, *, has_mask: bool) -> Encoder:
    """The encoder that a signal calls for."""
    if has_mask:
        return MaskedImageEncoder(signal, config) if signal.is_image else MaskedVectorEncoder(signal, config)
    return ImageEncoder(signal, config) if signal.is_image else VectorEncoder(signal, config)


class ObservationEncoder(nn.Module):
    """All that a schema lets a model see of a moment, fused into one latent. A mask goes into the encoder of its signal.

    A disturbance without a mask is missing where it is not finite: a goal does not say which disturbances there will be.

    Args:
        schema: Its observations and disturbances are encoded; the other signals are ignored.
        latent: D.
        config: Widths.
        sees_action: Encode the action that was applied before, too.

    Attributes:
        exact: Which features are the first dimensions of the latent as they are.
        disturbed: Which features are the numbers of measured disturbances; none where a network stands between them and the latent.
        pictured: Whether a dimension of the latent holds what images show, (D,) bool; those of exact numbers of other signals do not.

    Raises:
        SchemaError: There is no observation, or an image that does not split into patches.
    """

    exact: Tensor
    disturbed: Tensor
    pictured: Tensor

    def __init__(self, schema: Schema, latent: int, config: EncoderConfig, *, sees_action: bool = False) -> None:
        super().__init__()
        if not schema.observations:
            raise SchemaError("the schema has no observation signal: a model needs something to see")
        self.masks = {name: mask.name for name, mask in schema.masks.items()}
        encoded = [s for s in schema.seen if s.name not in self.masks.values()]
        self.names = tuple(s.name for s in encoded)
        may_miss = {s.name for s in encoded if s.name in self.masks or s.role is Role.DISTURBANCE}
        # A list, because a module dict refuses names that its methods have, such as `values` or `type`.
        self.encoders = nn.ModuleList(encoder_of(s, config, has_mask=s.name in may_miss) for s in encoded)
        if sees_action:
            applied = Signal(name="applied", role=Role.ACTION, shape=(schema.action_size,))
            self.encoders.append(MaskedVectorEncoder(applied, config))
        each = [encoder for encoder in self.encoders if isinstance(encoder, Encoder)]
        of_numbers = torch.cat([torch.arange(e.features) >= e.features - e.numbers for e in each])
        self.register_buffer("exact", of_numbers.nonzero()[:, 0][: latent if config.exact else 0], persistent=False)
        are_disturbances = [s.role is Role.DISTURBANCE and config.linear for s in encoded] + [False] * sees_action
        disturbed = torch.cat([torch.full((e.features,), chosen) for e, chosen in zip(each, are_disturbances, strict=True)])
        self.register_buffer("disturbed", disturbed.nonzero()[:, 0], persistent=False)
        self.fuse = nn.Linear(len(of_numbers), latent - len(self.exact))
        of_images = torch.cat([torch.full((e.features,), isinstance(e, ImageEncoder | MaskedImageEncoder)) for e in each])
        pictured = torch.cat((of_images[self.exact], of_images.any().expand(self.fuse.out_features)))
        self.register_buffer("pictured", pictured, persistent=False)
        if config.linear and not config.exact:
            # The first dimensions are the numbers, one each, at first; what images show goes into the others.
            straight = torch.eye(len(of_numbers))[of_numbers][:latent]
            with torch.no_grad():
                self.fuse.weight[: len(straight)] = straight
        self.may_miss, self.action_size = may_miss, schema.action_size if sees_action else 0

    def forward(self, observations: Mapping[str, Tensor], applied: Tensor | None = None) -> Tensor:
        """What is seen, by name, each (N, *shape), and the physical actions before (N, A), not finite where unknown, -> latents (N, D)."""
        samples = self._samples(observations, applied)
        features = [encoder(*given) for encoder, given in zip(self.encoders, samples, strict=True)]
        found = torch.cat(features, dim=-1)
        latents: Tensor = self.fuse(found)
        return torch.cat((found[:, self.exact], latents), dim=-1) if len(self.exact) else latents

    def as_measured(self, latents: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        """See `tacit.contracts.TellsDisturbances`. Numbers go into the latent by a linear map, so what differs is added by it."""
        if not len(self.disturbed):
            return latents
        given = zip(self.encoders, self._samples(observations, None), strict=True)
        found = torch.cat([_numbers_or_nan(encoder, *samples) for encoder, samples in given], dim=-1)[:, None, self.disturbed]
        read, drift, put = self.disturbance_map()
        predicted = (latents.double() - drift) @ read.T
        change = torch.where(found.isfinite(), found.double() - predicted, 0.0)
        return (latents.double() + change @ put.T).to(latents.dtype)

    def disturbance_map(self) -> tuple[Tensor, Tensor, Tensor]:
        """How n numbers of measured disturbances stand in the latent, float64: what reads them from it, (n, D), once a drift (D,) is taken
        off; that drift; and what a change of them adds to it, (D, n)."""
        kept, weight = len(self.exact), self.fuse.weight.double()
        onto = torch.cat((weight.new_zeros(kept, weight.shape[1]), weight))
        onto[torch.arange(kept), self.exact] = 1.0
        if torch.isin(self.disturbed, self.exact).all():
            read = onto.T[self.disturbed].clone()
            read[:, kept:] = 0.0  # they are there as they are
        else:
            read = torch.linalg.pinv(onto)[self.disturbed]
        return read, F.pad(self.fuse.bias.double(), (kept, 0)), onto[:, self.disturbed]

    def standardize(self, observations: Mapping[str, Tensor], applied: Tensor | None = None) -> None:
        """Take the statistics of a sample of the training logs: what is seen, by name, each (N, *shape), and actions (N, A)."""
        for encoder, (values, *valid) in zip(self.encoders, self._samples(observations, applied), strict=True):
            assert isinstance(encoder, Encoder)
            samples = values.float().reshape(-1, len(encoder.standardize.mean))
            there = torch.ones_like(samples, dtype=torch.bool)
            if valid:
                each = valid[0].reshape(len(valid[0]), -1).repeat_interleave(len(samples) // len(valid[0]), dim=0)
                there = each.expand_as(samples)
            encoder.standardize.set(*moments(torch.where(there, samples, 0.0), there))
            camera = encoder.camera if isinstance(encoder, MaskedImageEncoder) else encoder
            if isinstance(camera, ImageEncoder) and camera.peak is not None:
                peaks = brightest(values, camera.peaks)
                lit = valid[0][:, None] if valid else torch.ones_like(peaks, dtype=torch.bool)
                camera.peak.set(*moments(peaks, lit.expand_as(peaks)))

    def _samples(self, observations: Mapping[str, Tensor], applied: Tensor | None) -> list[tuple[Tensor, ...]]:
        """What each encoder is given: its samples, and their mask where some may be missing."""
        given: list[tuple[Tensor, ...]] = []
        for name in self.names:
            values = observations[name]
            if name in self.masks:
                given.append((values, observations[self.masks[name]]))
            else:
                given.append((values, values.isfinite()) if name in self.may_miss else (values,))
        if self.action_size:
            values = observations[self.names[0]]
            unknown = values.new_full((len(values), self.action_size), torch.nan, dtype=torch.float32)
            before = unknown if applied is None else applied
            given.append((before, before.isfinite()))
        return given


def _numbers_or_nan(encoder: nn.Module, values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Standardised numbers of samples (N, *shape), (N, features) as an encoder without a network makes them; not finite where none was
    measured, and for what is no such encoder."""
    assert isinstance(encoder, Encoder)
    if not encoder.numbers or not isinstance(encoder, VectorEncoder | MaskedVectorEncoder):
        return values.new_full((len(values), encoder.features), torch.nan, dtype=torch.float32)
    found: Tensor = encoder.standardize(values.reshape(len(values), -1).float())
    return found if valid is None else torch.where(valid.reshape(len(valid), -1), found, torch.nan)


def moments(samples: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the samples that are there, (N, C) and bool (N, C) -> (C,) each; 0 and 1 where none is."""
    count = there.sum(0)
    mean = (samples * there).sum(0) / count.clamp(min=1)
    variance = ((samples - mean).square() * there).sum(0) / (count - 1).clamp(min=1)
    return mean, torch.where(count > 1, variance.sqrt(), torch.ones_like(variance))

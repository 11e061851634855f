"""Perception: observations as logged -> latents.

One encoder per observation signal (images, vectors), fused by one linear map. Dimensions: N frames, D latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.nn.blocks import Standardizer, mlp
from tacit.signals import Schema, SchemaError, Signal

PATCH = 4  # pixels per side that the first convolution reads at once
COARSEST = 4  # the feature map is halved until its shorter side is at most this


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Settings of `ObservationEncoder`.

    Attributes:
        channels: Channels of the patch convolution and of each halving convolution; the last one repeats for larger images.
        features: Width of each signal's feature vector before fusion.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    features: int = 256


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
        layers += [nn.Flatten(), nn.Linear(before * height * width, config.features), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, height, width, channels) uint8 -> features (N, F)."""
        count, height, width, colours = frames.shape
        # Whole rows at once: the same numbers as `standardize`, ten times faster than a last dimension of three allows.
        row = frames.flatten(2).to(_compute_dtype(frames))
        mean, scale = self.standardize.mean.repeat(width), self.standardize.std.reciprocal().repeat(width)
        row = row.sub_(mean.to(row.dtype)).mul_(scale.to(row.dtype))
        # A patch convolution as one product; its output is a channels-last feature map as it stands.
        cells = row.view(count, height // PATCH, PATCH, width // PATCH, PATCH * colours).transpose(2, 3).flatten(3)
        features: Tensor = self.network(self.patches(cells).permute(0, 3, 1, 2))
        return features


def _compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of products here: autocast's where it is on. 0 to 255 are whole numbers in every one of them."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


class VectorEncoder(nn.Module):
    """Two layers over a standardised vector.

    Args:
        signal: A signal of any shape that is not an image; it is flattened.
        config: Widths.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        self.standardize = Standardizer((signal.size,))
        self.network = nn.Sequential(mlp((signal.size, config.features, config.features)), nn.ReLU(inplace=True))

    def forward(self, samples: Tensor) -> Tensor:
        """Samples (N, *shape) -> features (N, F)."""
        features: Tensor = self.network(self.standardize(samples.reshape(len(samples), -1).float()))
        return features


class MaskedVectorEncoder(nn.Module):
    """A vector of which elements may be missing: those count as the mean, and the network is told which they are.

    Args:
        signal: The signal that has a mask.
        config: Widths.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        self.standardize = Standardizer((signal.size,))
        self.network = nn.Sequential(mlp((2 * signal.size, config.features, config.features)), nn.ReLU(inplace=True))

    def forward(self, samples: Tensor, valid: Tensor) -> Tensor:
        """Samples and their mask, each (N, *shape) -> features (N, F)."""
        there = valid.reshape(len(valid), -1)
        known = torch.where(there, self.standardize(samples.reshape(len(samples), -1).float()), 0.0)
        features: Tensor = self.network(torch.cat((known, there.float()), dim=1))
        return features


class MaskedImageEncoder(nn.Module):
    """A camera that may be dark: a learned vector then stands for its features.

    Args:
        signal: The camera that has a mask.
        config: Widths.
    """

    def __init__(self, signal: Signal, config: EncoderConfig) -> None:
        super().__init__()
        self.camera = ImageEncoder(signal, config)
        self.absent = nn.Parameter(torch.zeros(config.features))

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
    """All observation signals of a schema, fused into one latent. A mask goes into the encoder of its signal.

    Args:
        schema: Its observation signals are encoded; the others are ignored.
        latent: D.
        config: Widths.

    Raises:
        SchemaError: There is no observation, or an image that does not split into patches.
    """

    def __init__(self, schema: Schema, latent: int, config: EncoderConfig) -> None:
        super().__init__()
        if not schema.observations:
            raise SchemaError("the schema has no observation signal: a model needs something to see")
        self.masks = {name: mask.name for name, mask in schema.masks.items()}
        encoded = [s for s in schema.observations if s.name not in self.masks.values()]
        self.names = tuple(s.name for s in encoded)
        # A list, because a module dict refuses names that its methods have, such as `values` or `type`.
        self.encoders = nn.ModuleList(encoder_of(s, config, has_mask=s.name in self.masks) for s in encoded)
        self.fuse = nn.Linear(config.features * len(encoded), latent)

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Observations by name, each (N, *shape) -> latents (N, D)."""
        features = [
            encoder(observations[name], observations[self.masks[name]]) if name in self.masks else encoder(observations[name])
            for name, encoder in zip(self.names, self.encoders, strict=True)
        ]
        latents: Tensor = self.fuse(torch.cat(features, dim=-1))
        return latents

    def standardize(self, observations: Mapping[str, Tensor]) -> None:
        """Take the statistics of a sample of the training logs: observations by name, each (N, *shape)."""
        for name, encoder in zip(self.names, self.encoders, strict=True):
            assert isinstance(encoder, Encoder)
            samples = observations[name].float().reshape(-1, len(encoder.standardize.mean))
            there = torch.ones_like(samples, dtype=torch.bool)
            if name in self.masks:
                valid = observations[self.masks[name]]
                each = valid.reshape(len(valid), -1).repeat_interleave(len(samples) // len(valid), dim=0)
                there = each.expand_as(samples)
            encoder.standardize.set(*moments(samples, there))


def moments(samples: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the samples that are there, (N, C) and bool (N, C) -> (C,) each; 0 and 1 where none is."""
    count = there.sum(0)
    mean = (samples * there).sum(0) / count.clamp(min=1)
    variance = ((samples - mean).square() * there).sum(0) / (count - 1).clamp(min=1)
    return mean, torch.where(count > 1, variance.sqrt(), torch.ones_like(variance))

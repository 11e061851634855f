"""What is known afterwards: a question about a moment of the logs, answered by what was measured after it.

What would have been otherwise is found in three steps (Pearl, Causality, 2nd edition, 2009, section 7.1): what happened tells what the
prediction could not know, disturbances and the noise of samples; the action is exchanged; and with the same disturbances the model says
what comes of it. Here the first step is what the prediction under the logged actions turned out to be wrong by, and the last adds that to
the prediction under others. It takes disturbances to act alike under both, which holds exactly of a linear plant, and of another one as far
as the exchanged actions do not lead far from what happened.

Dimensions: W stretches of the logs, H horizon, N channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
APART = 7  # stretches between those of which two steps that follow each other are taken


def aftermath(happened: NDArray[np.float32], predicted: NDArray[np.float32]) -> Numbers:
    """What a prediction turned out to be wrong by, at every step.

    Args:
        happened: What was measured after each action, (H, N), not finite where nothing was.
        predicted: The same as it was predicted, (H, N).

    Returns:
        (H, N): at a measurement its error, between two a straight line, from none at the moment of the question to that of the first one;
        after the last one as there, and 0 of a channel that was not measured.
    """
    wrong = happened.astype(np.float64) - predicted
    found = np.zeros_like(wrong)
    for n, column in enumerate(wrong.T):
        there = np.flatnonzero(np.isfinite(column))
        found[:, n] = np.interp(np.arange(len(column)), [-1, *there], [0.0, *column[there]])
    return found


def left_out(residuals: Numbers) -> Numbers:
    """How far each measurement is from what `aftermath` makes of the others of its stretch.

    That is what noise hides of a value that was measured, and noise and time of one between two measurements. Of neighbours these numbers
    nearly cancel, which noise does not: a path has each step from another stretch.

    Args:
        residuals: What was measured minus what was predicted in stretches, (W, H), not finite where nothing was measured.

    Returns:
        (W, H), at each step those of all stretches in another order; not finite where nothing was measured.
    """
    found = np.full_like(residuals, np.nan)
    for row, wrong in zip(found, residuals, strict=True):
        there = np.flatnonzero(np.isfinite(wrong))
        if not len(there):
            continue
        time, value = np.concatenate(([-1], there)), np.concatenate(([0.0], wrong[there]))
        share = (time[1:-1] - time[:-2]) / (time[2:] - time[:-2])
        line = np.append(value[:-2] + share * (value[2:] - value[:-2]), value[-2])
        row[there] = wrong[there] - line
    for step in range(found.shape[1]):
        found[:, step] = np.roll(found[:, step], step * APART)
    return found

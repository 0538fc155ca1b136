"""Divide a run into bands of one stage each, at change points of the stage shares."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medrlvr.dynamics.stages import HACKED, LABELS, REINTEGRATED, SOUND

LEAST_BAND = 3
"""Minimum length of a band, in updates."""


@dataclass(frozen=True, slots=True)
class Band:
    """Consecutive updates of one stage.

    Attributes:
        stage: one of `STAGES`.
        first, last: its first and last update.
        shares: label -> fraction of the band's responses.
    """

    stage: str
    first: int
    last: int
    shares: dict[str, float]


def segment(shares: pd.DataFrame) -> list[Band]:
    """Return the bands of a run, in order; each is named after its most common label.

    PELT finds change points in the labels' shares. The arcsine of the square root makes the variance of a share depend
    only on the number of responses. If shares vary more than that, the noise is estimated from consecutive updates. A
    change point must reduce the squared error by more than a BIC penalty, scaled by the noise.

    Args:
        shares: update, responses and a column for each of `LABELS`, one row per update in order.
    """
    # Importing it needs a second. A dry run and the steps that only label responses do not need it.
    import ruptures

    values = shares[list(LABELS)].to_numpy(dtype=float)
    counts = shares["responses"].to_numpy(dtype=float)
    signal = 2 * np.sqrt(counts)[:, None] * np.arcsin(np.sqrt(values.clip(0, 1)))
    ends = [len(values)]
    if len(values) >= 2 * LEAST_BAND:
        free = len(LABELS) - 1
        steps = (np.diff(signal, axis=0) ** 2).sum(axis=1)
        # The median of a chi-squared distribution is about k (1 - 2 / 9k)^3.
        noise = max(1.0, float(np.median(steps)) / (2 * free * (1 - 2 / (9 * free)) ** 3))
        penalty = (free + 1) * np.log(len(values)) * noise
        ends = ruptures.Pelt(model="l2", min_size=LEAST_BAND, jump=1).fit(signal).predict(pen=penalty)
    bands: list[Band] = []
    hacked = False
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        share = np.average(values[start:end], axis=0, weights=counts[start:end])
        commonest = LABELS[int(share.argmax())]
        hacked |= commonest in HACKED
        stage = REINTEGRATED if hacked and commonest in SOUND else commonest
        first = bands.pop().first if bands and bands[-1].stage == stage else int(shares["update"].iloc[start])
        bands.append(_band(shares, stage, first, int(shares["update"].iloc[end - 1])))
    return bands


def _band(shares: pd.DataFrame, stage: str, first: int, last: int) -> Band:
    rows = shares[shares["update"].between(first, last)]
    means: dict[str, float] = {name: float(np.average(rows[name], weights=rows["responses"])) for name in LABELS}
    return Band(stage, first, last, means)

"""Align pieces of sentence pairs: IBM Model 1 with a preference for the diagonal, as in fast_align.

With such alignments, a small model learns attention in a fraction of the steps (Chen et al., 2016: guided alignment).
"""

import numpy as np

ITERATIONS = 5
DIAGONAL = 4.0  # how strongly pieces at the same relative position are preferred


def align(examples, pieces):
    """Return a target × source matrix for each (source ids, target ids); its rows add up to 1.

    The first source piece names the target language; nothing comes from it. Target pieces that come from nowhere are
    aligned with the last one, the end mark.
    """
    sources = [np.tile(source, len(target)) for source, target in examples]
    targets = [np.repeat(target, len(source)) for source, target in examples]
    priors = np.concatenate([prior(len(source), len(target)).ravel() for source, target in examples])
    keys = np.concatenate(sources).astype(np.int64) * pieces + np.concatenate(targets)
    unique, cell = np.unique(keys, return_inverse=True)
    rows = np.cumsum([0, *(len(source) for source, target in examples for _ in target)])[:-1]
    widths = np.diff([*rows, len(cell)])
    chance = np.full(len(unique), 1.0)
    for _ in range(ITERATIONS):
        share = chance[cell] * priors
        share /= np.repeat(np.add.reduceat(share, rows), widths)
        counts = np.bincount(cell, share, len(unique))
        chance = counts / np.bincount(unique // pieces, counts, pieces)[unique // pieces].clip(1e-9)
    ends = np.cumsum([len(source) * len(target) for source, target in examples])
    return [
        part.reshape(len(target), len(source)).astype(np.float32)
        for part, (source, target) in zip(np.split(share, ends[:-1]), examples)
    ]


def prior(source, target):
    """Return a target × source matrix of weights that only depend on the positions."""
    away = np.abs(np.arange(target)[:, None] / target - (np.arange(source) - 1) / max(1, source - 1))
    expected = np.exp(-DIAGONAL * away)
    expected[:, 0] = 0
    expected[:, -1] = 0.1
    return expected

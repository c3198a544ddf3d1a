"""Statistics of the maps inside a network: spread per class, a balanced sample, silhouette, t-SNE.

Definitions: SGMA (arXiv 2603.02505), figures 8 and 10; docs/diagnose.md settles the rest.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

Array = npt.NDArray[Any]
SEED = 0
COMPONENTS, PERPLEXITY = 50, 30.0  # of PCA before t-SNE, and of t-SNE


def stride_of(height: int, finest: int, own: int) -> int:
    """Compute the pixels a cell of a map with `own` rows, in a window of `height` pixels.

    `finest` is the number of rows of the method's finest map.

    Example:
        >>> stride_of(height=130, finest=40, own=20)  # padded to 160 px
        8
    """
    # Networks pad a window to a multiple of their coarsest stride before all else, so the finest
    # map tells the padded height: exactly for all windows from 128 px on.
    return -(-height // finest) * finest // own


def sample_at_cell_centres(pixels: Array, shape: Sequence[int], stride: int, beyond: int) -> Array:
    """Take the pixel at the middle of every cell of a map: `(H, W)` to `shape`.

    Cells of the padding get `beyond`.

    Example:
        >>> pixels = np.arange(16).reshape(4, 4)
        >>> sample_at_cell_centres(pixels, (2, 3), stride=2, beyond=-1).tolist()
        [[5, 7, -1], [13, 15, -1]]
    """
    cells = np.full(shape, beyond, pixels.dtype)
    found = pixels[stride // 2 :: stride, stride // 2 :: stride][: shape[0], : shape[1]]
    cells[: found.shape[0], : found.shape[1]] = found
    return cells


class ClassMoments:
    """Streaming sums of 1, z and z^2 per class and channel, in float64."""

    def __init__(self, classes: int, channels: int) -> None:
        self.count = np.zeros(classes, np.int64)
        self.sums, self.squares = np.zeros((classes, channels)), np.zeros((classes, channels))

    def add_vectors(self, vectors: Array, labels: Array) -> None:
        """Add vectors `(N, C)` with labels `(N,)` in 0..K-1."""
        for label in np.unique(labels):
            # float32 sums of squares lose the variance of features far from zero
            of_class = vectors[labels == label].astype(np.float64)
            self.count[label] += len(of_class)
            self.sums[label] += of_class.sum(0)
            self.squares[label] += np.square(of_class).sum(0)

    def variances(self) -> tuple[Array, Array]:
        """Compute per class the mean over its vectors of ||z - mu_c||^2 / C, `(K,)`.

        First with every channel standardised over all vectors (channels that never change are left
        out), then raw; nan for a class without vectors.
        """
        count = self.count[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            within = (self.squares / count - np.square(self.sums / count)).clip(0)
            square, mean = self.squares.sum(0) / count.sum(), self.sums.sum(0) / count.sum()
            total = square - np.square(mean)
            # rounding of the two terms leaves about 1e-16 of them
            varying = total > 1e-12 * square
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no channel is nan
                return (within[:, varying] / total[varying]).mean(1), within.mean(1)


class PerClassReservoir:
    """A uniform sample without replacement of at most `size` vectors per class from a stream.

    Two networks whose maps have the same strides are sampled at the same pixels.
    """

    def __init__(self, size: int) -> None:
        self.size, self.rng = size, np.random.default_rng(SEED)
        self.kept: dict[int, tuple[Array, Array]] = {}

    def offer(self, vectors: Array, labels: Array) -> None:
        """Offer vectors `(N, C)` with labels `(N,)`."""
        # each class keeps its smallest keys, which follow from the order of the stream alone
        keys = self.rng.random(len(labels))
        for label in np.unique(labels).tolist():
            here = np.flatnonzero(labels == label)
            here = here[np.argsort(keys[here])[: self.size]]
            some_keys, some = keys[here], vectors[here]
            if label in self.kept:
                old_keys, old = self.kept[label]
                some_keys, some = np.concatenate([old_keys, some_keys]), np.concatenate([old, some])
            order = np.argsort(some_keys)[: self.size]
            self.kept[label] = (some_keys[order], some[order])

    def vectors_and_labels(self) -> tuple[Array, Array]:
        """Return vectors `(N, C)` and labels `(N,)`, class by class."""
        classes = sorted(self.kept)
        vectors = [self.kept[label][1] for label in classes]
        return np.concatenate(vectors), np.repeat(classes, list(map(len, vectors)))


def silhouette_score_of(vectors: Array, labels: Array) -> float:
    """Average (b - a) / max(a, b) over vectors `(N, C)`, Euclidean after standardisation.

    a is the mean distance to the own class, b the smallest mean distance to another class
    (Rousseeuw 1987). nan with fewer than two classes, or without two vectors in some class.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    return float(silhouette_score(scaled, labels))


def embed_tsne(vectors: Array) -> Array:
    """Embed standardised vectors `(N, C)` by t-SNE, `(N, 2)`, with a fixed seed.

    PCA to 50 dimensions if there are more, perplexity 30. Fewer than 91 vectors get a perplexity of
    a third of their number; fewer than four stay at the origin.
    """
    if len(vectors) < 4:
        return np.zeros((len(vectors), 2))
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    if scaled.shape[1] > COMPONENTS:
        scaled = PCA(min(COMPONENTS, len(scaled)), random_state=SEED).fit_transform(scaled)
    perplexity = min(PERPLEXITY, (len(scaled) - 1) / 3)
    # the two first principal components are the usual start, if there are two
    start = "pca" if np.linalg.matrix_rank(scaled) > 1 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=SEED).fit_transform(scaled)

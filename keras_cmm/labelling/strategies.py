"""The strategies by which images are chosen for labelling.

Each takes a `Pool`, how many images to choose, and a generator of random numbers. It returns the
numbers of different images, the most wanted first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from keras_cmm.labelling.pool import Pool
from keras_cmm_runtime.utils import unit_rows

Rows = npt.NDArray[np.int64]
Strategy = Callable[[Pool, int, np.random.Generator], Rows]

# Bounds time and memory: what covers this many of the images covers all well.
_MOST_COVERED = 4096
# Hacohen, Dekel and Weinshall take the 20 nearest of a cluster for its density, or all of a small
# one.
_NEAREST = 20


def at_random(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses without looking at the images."""
    return generator.permutation(len(pool))[:count]


def by_margin(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses the images whose two most probable classes lie closest.

    Scheffer, Decomain and Wrobel, "Active hidden Markov models for information extraction", IDA
    2001.
    """
    return np.argsort(pool.margins, kind="stable")[:count]


def by_entropy(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses the images whose probabilities have the largest entropy.

    Settles, "Active Learning Literature Survey", 2009, section 3.1.
    """
    positive = np.maximum(pool.probabilities, 1e-30)
    entropies = -(positive * np.log(positive)).sum(axis=1)
    return np.argsort(-entropies, kind="stable")[:count]


def by_k_centre(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses the image that is farthest from all labelled and chosen ones, again and again.

    Without labelled images the first is drawn at random. Sener and Savarese, "Active Learning for
    Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, arXiv:1708.00489.
    """
    rows = pool.embeddings
    if len(pool.known):
        nearest = (rows @ pool.known.T).max(axis=1)
        chosen: list[int] = []
    else:
        chosen = [int(generator.integers(len(pool)))]
        nearest = rows @ rows[chosen[0]]
    while len(chosen) < min(count, len(pool)):
        nearest[chosen] = np.inf
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, rows @ rows[chosen[-1]])
    return np.array(chosen[:count], dtype="int64")


def by_typiclust(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses the image in the densest place of each of the largest clusters without a label.

    There are as many clusters as there are labelled and wanted images. Hacohen, Dekel and
    Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML
    2022, arXiv:2202.02794.
    """
    rows = np.concatenate([pool.known, pool.embeddings])
    known = len(pool.known)
    cluster_of = _clusters(rows, known + count, generator)
    sizes = np.bincount(cluster_of)
    sizes[cluster_of[:known]] = 0
    order = [number for number in np.argsort(-sizes, kind="stable").tolist() if sizes[number]]
    typical = []
    for number in order[:count]:
        members = np.flatnonzero(cluster_of == number)
        cosines = rows[members] @ rows[members].T
        nearest = np.sort(cosines, axis=1)[:, -1 - _NEAREST : -1]
        # Of rows of unit length.
        distances = np.sqrt(np.maximum(2 - 2 * nearest, 0))
        mean = distances.mean(axis=1) if distances.size else np.zeros(len(members))
        typical.append(int(members[mean.argmin()]) - known)
    return _filled(typical, pool, count, generator)


def by_class_guided_clusters(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses the image in the middle of each cluster, where classes have a say in the clusters.

    An image is clustered by its embedding and by the mean image of its classes, weighted by their
    probabilities. After the class-guided clustering of Kim et al., "Active Prompt Learning with
    Vision-Language Model Priors", arXiv:2411.16722, who take the class texts for the mean images.
    """
    weights = pool.probabilities / np.maximum(pool.probabilities.sum(axis=0), 1e-12)
    means = unit_rows(weights.T @ pool.embeddings)
    guided = unit_rows(pool.probabilities @ means)
    rows = np.concatenate([pool.embeddings, guided], axis=1)
    cluster_of = _clusters(rows, count, generator)
    chosen = []
    for number in np.argsort(-np.bincount(cluster_of), kind="stable").tolist():
        members = np.flatnonzero(cluster_of == number)
        if len(members):
            centre = rows[members].mean(axis=0)
            chosen.append(int(members[(rows[members] @ centre).argmax()]))
    return _filled(chosen, pool, count, generator)


def by_cover(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses the image that raises the cover of all images most, again and again.

    The cover is the sum over all images of their cosine to the nearest labelled or chosen one. Once
    there are labels, an image counts for more in it, the less sure its class is. Before, all count
    alike, since class texts may be wrong about what is sure.

    Bae, Oliveira and Sutherland, "Uncertainty Herding: One Active Learning Method for All Label
    Budgets", ICLR 2025, arXiv:2412.20644, with the cosine for the kernel.
    """
    weights = 1 - pool.margins if len(pool.known) else np.ones(len(pool))
    cover = _Cover(pool, np.arange(len(pool)), weights, generator)
    chosen = [cover.take() for _ in range(min(count, cover.size))]
    return _filled(chosen, pool, count, generator)


def by_balanced_cover(pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Chooses images that cover the classes evenly, and each class well.

    The class with the fewest images, labelled and chosen, comes next. An image belongs to the class
    that is most probable. Of the images of a class the one is chosen that raises the cover of the
    class most, where an image counts for more, the less sure its class is.

    The balance over predicted classes is that of Bang, Ahn and Lee, "Active Prompt Learning in
    Vision Language Models", CVPR 2024, arXiv:2311.11178.
    """
    predicted, margins = pool.predicted, pool.margins
    covers = {
        label: _Cover(pool, members, 1 - margins[members], generator)
        for label in range(pool.probabilities.shape[1])
        if len(members := np.flatnonzero(predicted == label))
    }
    have = pool.counts.tolist()
    chosen: list[int] = []
    while len(chosen) < count and covers:
        # Of classes with as few images, the one that most of the pool seems to be of.
        label = min(covers, key=lambda each: (have[each], -covers[each].size))
        chosen.append(covers[label].take())
        have[label] += 1
        if not covers[label].size:
            del covers[label]
    return _filled(chosen, pool, count, generator)


class _Cover:
    """Images that are taken one by one so that they cover some of a pool.

    Args:
        pool: The pool.
        members: Numbers of the images to cover and to choose from.
        weights: How much each of them counts.
        generator: Draws the images that are looked at, if there are very many.
    """

    def __init__(
        self,
        pool: Pool,
        members: Rows,
        weights: npt.NDArray[np.floating],
        generator: np.random.Generator,
    ) -> None:
        if len(members) > _MOST_COVERED:
            drawn = np.sort(generator.permutation(len(members))[:_MOST_COVERED])
            members, weights = members[drawn], weights[drawn]
        self._members, self._weights = members, np.maximum(weights, 1e-6)
        rows = pool.embeddings[members]
        self._cosines = rows @ rows.T
        known = pool.known
        covered = (rows @ known.T).max(axis=1) if len(known) else np.full(len(rows), -1.0)
        self._covered = covered
        self._left = np.ones(len(members), dtype=bool)

    @property
    def size(self) -> int:
        """How many images are left."""
        return int(self._left.sum())

    def take(self) -> int:
        """Returns the image that raises the cover most."""
        gains = np.maximum(self._cosines - self._covered, 0) @ self._weights
        best = int(np.where(self._left, gains, -1.0).argmax())
        self._left[best] = False
        self._covered = np.maximum(self._covered, self._cosines[best])
        return int(self._members[best])


def _clusters(
    rows: npt.NDArray[np.floating], count: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Returns the number of the cluster of each row."""
    from sklearn.cluster import KMeans

    # Copies of an image cannot be told apart, and k-means warns of fewer clusters than asked for.
    different = len(np.unique(rows, axis=0))
    means = KMeans(min(count, different), n_init=1, random_state=int(generator.integers(2**31)))
    return np.asarray(means.fit_predict(rows), dtype="int64")


def _filled(chosen: list[int], pool: Pool, count: int, generator: np.random.Generator) -> Rows:
    """Returns the chosen images, and random ones if these are fewer than wanted."""
    others = np.setdiff1d(np.arange(len(pool)), chosen)
    missing = max(0, count - len(chosen))
    return np.concatenate(
        [np.array(chosen[:count], dtype="int64"), generator.permutation(others)[:missing]]
    )


STRATEGIES: dict[str, Strategy] = {
    "cover": by_cover,
    "balanced_cover": by_balanced_cover,
    "margin": by_margin,
    "entropy": by_entropy,
    "k_centre": by_k_centre,
    "typiclust": by_typiclust,
    "class_guided": by_class_guided_clusters,
    "random": at_random,
}

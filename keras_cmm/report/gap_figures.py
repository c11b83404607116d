"""The modality gap before and after the mapping: numbers and a 2-D projection."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_cmm.evaluation import MappedEmbeddings, ModalityGap
from keras_cmm_runtime.utils.unit_rows import unit_rows

Points = npt.NDArray[np.float32]

# A cloud of more points looks the same, and makes the file larger.
_MAX_IMAGES = 1500
_WIDTH = 1000


class Projection(NamedTuple):
    """Embeddings projected on a plane.

    Attributes:
        images: `(images, 2)`.
        texts: `(classes, 2)`.
        means: `(classes, 2)`, the mean of the images of each class; NaN for a class without images.
    """

    images: Points
    texts: Points
    means: Points


def table_rows(gaps: tuple[ModalityGap, ModalityGap]) -> list[tuple[str, list[float]]]:
    """Returns the rows of the table of the gaps: a name, and the number before and after."""
    margins = [gap.own_cosine - gap.hardest_wrong_cosine for gap in gaps]
    return [
        ("Distance of the centroids", [gap.centroid_distance for gap in gaps]),
        ("Mean cosine to the own text", [gap.own_cosine for gap in gaps]),
        ("Mean cosine to the hardest wrong text", [gap.hardest_wrong_cosine for gap in gaps]),
        ("Own minus hardest wrong", margins),
    ]


def project(embeddings: MappedEmbeddings) -> tuple[Projection, Projection, float]:
    """Projects all embeddings on the same two principal components.

    The components are fitted on every image together with the text of its class, before and after
    the mapping. Texts taken once would be too few to count, and the gap might not show.

    Returns:
        The projections before and after the mapping, and the share of the variance that they keep.
    """
    from sklearn.decomposition import PCA

    labels = embeddings.labels
    before = unit_rows(embeddings.images), unit_rows(embeddings.texts)
    after = unit_rows(embeddings.mapped_images), unit_rows(embeddings.class_prototypes)
    pca = PCA(n_components=2, svd_solver="randomized", random_state=0)
    pca.fit(np.concatenate([before[0], before[1][labels], after[0], after[1][labels]]))

    shown = np.random.default_rng(0).permutation(len(labels))[:_MAX_IMAGES]
    projections = []
    for images, texts in (before, after):
        points = pca.transform(images)
        means = np.full((len(texts), 2), np.nan, dtype=np.float32)
        for class_id in np.unique(labels):
            means[class_id] = points[labels == class_id].mean(axis=0)
        projections.append(Projection(points[shown], pca.transform(texts), means))
    return projections[0], projections[1], float(pca.explained_variance_ratio_.sum())


def limits(projections: tuple[Projection, Projection]) -> tuple[Points, Points]:
    """Returns the lowest and the highest values of both projections, with a margin."""
    points = np.concatenate([part for p in projections for part in (p.images, p.texts)])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * (high - low).max()
    return low - margin, high + margin


def charts(projections: tuple[Projection, Projection]) -> list[dict[str, Any]]:
    """Returns the coordinates of both charts. All axes have the same scale."""
    low, high = limits(projections)
    scale = _WIDTH / (high[0] - low[0])

    def pixels(points: Points) -> list[list[int]]:
        flipped = np.stack([points[:, 0] - low[0], high[1] - points[:, 1]], axis=1)
        return np.rint(scale * flipped).astype(int).tolist()

    charts = []
    for projection in projections:
        has_images = ~np.isnan(projection.means[:, 0])
        starts = pixels(projection.means[has_images])
        ends = pixels(projection.texts[has_images])
        charts.append(
            {
                "width": _WIDTH,
                "height": round(float(scale * (high[1] - low[1]))),
                "images": pixels(projection.images),
                "texts": pixels(projection.texts),
                "links": list(zip(starts, ends, strict=True)),
            }
        )
    return charts

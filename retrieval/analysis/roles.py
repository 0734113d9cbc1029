"""The roles of photos in an evaluation: queries, photos that may be found, and groups of photos."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.ranking_metrics import Counts
from retrieval.top_k import Positions


@dataclass(frozen=True)
class Roles:
    """Which photos are queries, which may be found, and which belong together.

    Attributes:
        queries: positions of the query photos, int64 [queries]; None for all photos.
        gallery: positions of the photos that may be found, int64 [n]; None for all photos.
        groups: the group of each photo, such as the photos of one object, [photos]; a query finds only photos of other
            groups. None if each photo is a group.
    """

    queries: Positions | None = None
    gallery: Positions | None = None
    groups: npt.NDArray[np.generic] | None = None

    def matches(self, labels: npt.NDArray[np.str_]) -> Counts:
        """Return for each photo the number of photos with its label that it may find, int64 [photos].

        `labels` is str [photos].
        """
        codes = np.unique(labels, return_inverse=True)[1]
        groups = np.arange(len(labels)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        gallery = np.arange(len(labels)) if self.gallery is None else self.gallery
        of_label = np.bincount(codes[gallery], minlength=codes.max(initial=-1) + 1)
        pairs, inverse = np.unique(codes * (groups.max(initial=0) + 1) + groups, return_inverse=True)
        of_pair = np.bincount(inverse[gallery], minlength=len(pairs))
        matches: Counts = of_label[codes] - of_pair[inverse]
        return matches


EVERY_PHOTO = Roles()

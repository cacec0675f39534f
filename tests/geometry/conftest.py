"""A head whose tissue is known: the phantom's, seen with T1 contrast at 2 mm."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortwin.geometry import AtlasOnHead, Tissue, classify, register_atlas
from tumortwin.imaging.volume import Volume
from tumortwin.phantom.acquisition import HEALTHY, TISSUES, rician, signal
from tumortwin.phantom.anatomy import Anatomy, individual


@dataclass(frozen=True)
class KnownHead:
    """A T1 image, the anatomy it shows, and what geometry makes of it."""

    image: Volume
    anatomy: Anatomy
    prior: AtlasOnHead
    tissue: Tissue

    def true(self, name: str) -> NDArray[np.float32]:
        """A tissue's true share on the found tissue's grid."""
        index = np.rint(self.anatomy.grid.to_index(self.tissue.grid.to_world([0, 0, 0]))).astype(int)
        return self.anatomy.tissues[name][
            tuple(slice(a, a + n) for a, n in zip(index, self.tissue.grid.shape, strict=True))
        ]


def seen(anatomy: Anatomy, noise: float = 0.03) -> Volume:
    """Noisy T1 image, white matter at 1."""
    white = signal(TISSUES["white"], "T1")
    clean = sum(anatomy.tissues[name] * np.float32(signal(TISSUES[name], "T1") / white) for name in HEALTHY)
    return Volume(rician(np.asarray(clean), noise, np.random.default_rng(0)), anatomy.grid, name="T1")


@pytest.fixture(scope="session")
def known_head() -> KnownHead:
    anatomy = individual(np.random.default_rng(3), 2.0)
    image = seen(anatomy)
    prior = register_atlas(image)
    return KnownHead(image, anatomy, prior, classify(image, prior))

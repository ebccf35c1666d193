"""Find minima, saddles and the paths between them.

`nudged_elastic_band` finds the path of least loss between two minima, whose highest image is near a
saddle. `critical_point` finds that saddle to rounding, and minima too. Both take any loss of a
pytree of some thousand numbers at most, and compute in float64.
"""

from sgd_diffusion.landscape.saddles.critical_points import CriticalPoint, critical_point
from sgd_diffusion.landscape.saddles.elastic_band import ElasticBand, nudged_elastic_band

__all__ = ["CriticalPoint", "ElasticBand", "critical_point", "nudged_elastic_band"]

"""Geometry of a path from the Gram matrix of its steps: length, dimension, width and directions.

A path w_0, ..., w_T enters as `step_gram`, as in `analysis.displacement`. Precision,
transformations and NaN are handled as there. Fits (`path_dimension`, `self_affinity`) are float64
NumPy on the host.

Errors come from a resampling of the window (`analysis.pairs`). They are about this stretch of this
path; the spread over seeds is another matter.
"""

from sgd_diffusion.analysis.paths.components import (
    PrincipalComponents,
    WeightComponents,
    components_of_weights,
    principal_components,
)
from sgd_diffusion.analysis.paths.dimension import (
    PathDimension,
    contour_length,
    end_to_end,
    path_dimension,
)
from sgd_diffusion.analysis.paths.excursions import (
    Excursions,
    ExcursionsByLength,
    ExcursionSlope,
    SelfAffinity,
    excursion_slope,
    excursions_by_length,
    self_affinity,
    transverse_excursions,
)

__all__ = [
    "ExcursionSlope",
    "Excursions",
    "ExcursionsByLength",
    "PathDimension",
    "PrincipalComponents",
    "SelfAffinity",
    "WeightComponents",
    "components_of_weights",
    "contour_length",
    "end_to_end",
    "excursion_slope",
    "excursions_by_length",
    "path_dimension",
    "principal_components",
    "self_affinity",
    "transverse_excursions",
]

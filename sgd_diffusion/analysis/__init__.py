"""Statistics of positions, steps and losses of a path, for trajectories of any origin.

Most functions take the Gram matrix of the steps (`step_gram`). These modules have their own names:
`analysis.positions` (tracks of few coordinates), `analysis.pairs` (averages over pairs and their
bootstrap), `analysis.processes` (paths of known truth), `analysis.stable` and `analysis.tails`
(heavy tails), `analysis.pooling` (many series as one sample) and `analysis.streaming` (paths that
do not fit into the memory).
"""

from sgd_diffusion.analysis import (
    pairs,
    pooling,
    positions,
    processes,
    stable,
    streaming,
    tails,
)
from sgd_diffusion.analysis.aging import AgingFit, fit_aging, two_time_displacements
from sgd_diffusion.analysis.displacement import (
    displacement_from_start,
    effective_pairs,
    ergodicity_breaking,
    squared_displacements,
    step_angles,
    step_autocorrelation,
    time_averaged_msd,
)
from sgd_diffusion.analysis.ensembles import EnsembleAverage, ensemble_average
from sgd_diffusion.analysis.estimates import Estimate, Status
from sgd_diffusion.analysis.freezing import freezing_index, jaccard_similarity
from sgd_diffusion.analysis.gram import step_gram
from sgd_diffusion.analysis.lags import standard_lags, standard_ranges
from sgd_diffusion.analysis.moments import (
    DisplacementDistribution,
    MomentScalingSpectrum,
    displacement_distribution,
    displacement_moments,
    moment_scaling_spectrum,
    non_gaussian_parameter,
)
from sgd_diffusion.analysis.paths import (
    Excursions,
    ExcursionsByLength,
    ExcursionSlope,
    PathDimension,
    PrincipalComponents,
    SelfAffinity,
    WeightComponents,
    components_of_weights,
    contour_length,
    end_to_end,
    excursion_slope,
    excursions_by_length,
    path_dimension,
    principal_components,
    self_affinity,
    transverse_excursions,
)
from sgd_diffusion.analysis.roughness import (
    HurstFit,
    MeanSquaredLoss,
    NoiseFloor,
    batch_noise_floor,
    hurst_exponent,
    loss_by_contour,
    loss_by_distance,
    mean_squared_loss,
)
from sgd_diffusion.analysis.scaling import (
    CrossoverFit,
    LocalExponent,
    Onset,
    PowerLawFit,
    fit_crossover,
    fit_power_law,
    local_exponent,
    normal_diffusion_crossing,
    regime_boundary,
    superdiffusion_onset,
)
from sgd_diffusion.analysis.segments import segment_msd
from sgd_diffusion.analysis.surrogates import (
    drift_subtracted,
    drift_subtracted_msd,
    shuffled_msd,
    shuffled_steps,
    sign_flipped_steps,
)

__all__ = [
    # rooms within
    "pairs",
    "pooling",
    "positions",
    "processes",
    "stable",
    "streaming",
    "tails",
    # displacements of a path
    "step_gram",
    "squared_displacements",
    "time_averaged_msd",
    "displacement_from_start",
    "step_autocorrelation",
    "step_angles",
    "effective_pairs",
    "ergodicity_breaking",
    "segment_msd",
    "displacement_moments",
    "moment_scaling_spectrum",
    "non_gaussian_parameter",
    "displacement_distribution",
    "MomentScalingSpectrum",
    "DisplacementDistribution",
    "two_time_displacements",
    "fit_aging",
    "AgingFit",
    # exponents
    "local_exponent",
    "fit_power_law",
    "fit_crossover",
    "superdiffusion_onset",
    "normal_diffusion_crossing",
    "regime_boundary",
    "LocalExponent",
    "PowerLawFit",
    "CrossoverFit",
    "Onset",
    "standard_lags",
    "standard_ranges",
    # controls
    "drift_subtracted",
    "drift_subtracted_msd",
    "shuffled_steps",
    "shuffled_msd",
    "sign_flipped_steps",
    # shape of a path
    "contour_length",
    "end_to_end",
    "path_dimension",
    "transverse_excursions",
    "excursions_by_length",
    "excursion_slope",
    "self_affinity",
    "principal_components",
    "components_of_weights",
    "PathDimension",
    "Excursions",
    "ExcursionsByLength",
    "ExcursionSlope",
    "SelfAffinity",
    "PrincipalComponents",
    "WeightComponents",
    # roughness of the loss
    "mean_squared_loss",
    "loss_by_distance",
    "loss_by_contour",
    "batch_noise_floor",
    "hurst_exponent",
    "MeanSquaredLoss",
    "NoiseFloor",
    "HurstFit",
    # valleys
    "jaccard_similarity",
    "freezing_index",
    # errors
    "Estimate",
    "Status",
    "ensemble_average",
    "EnsembleAverage",
]

"""Compute the curvature of a loss: exact products, eigenvalues, spectral density and trace."""

from sgd_diffusion.landscape.curvature.alignment import (
    NoiseAlignment,
    gradient_alignment,
    noise_alignment,
)
from sgd_diffusion.landscape.curvature.comparison import (
    HessianComparison,
    compare_with_hessian,
)
from sgd_diffusion.landscape.curvature.eigenpairs import Eigenpairs, top_eigenpairs
from sgd_diffusion.landscape.curvature.matrices import dense_matrix, gradient_covariance
from sgd_diffusion.landscape.curvature.products import (
    gauss_newton_product,
    hessian_vector_product,
    layer_block,
    mean_over_chunks,
)
from sgd_diffusion.landscape.curvature.stochastic import (
    SpectralDensity,
    SpectralMeasure,
    TraceEstimate,
    hutchpp_trace,
    smoothed_density,
    spectral_density,
    spectral_measure,
)

__all__ = [
    "Eigenpairs",
    "HessianComparison",
    "NoiseAlignment",
    "SpectralDensity",
    "SpectralMeasure",
    "TraceEstimate",
    "compare_with_hessian",
    "dense_matrix",
    "gauss_newton_product",
    "gradient_alignment",
    "gradient_covariance",
    "hessian_vector_product",
    "layer_block",
    "mean_over_chunks",
    "noise_alignment",
    "smoothed_density",
    "spectral_density",
    "spectral_measure",
    "top_eigenpairs",
    "hutchpp_trace",
]

"""Compute the curvature of a loss: exact products, eigenvalues, spectral density and trace."""

from sgd_diffusion.landscape.curvature.alignment import (
    NoiseAlignment,
    gradient_alignment,
    noise_alignment,
)
from sgd_diffusion.landscape.curvature.eigenpairs import Eigenpairs, top_eigenpairs
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
    "NoiseAlignment",
    "SpectralDensity",
    "SpectralMeasure",
    "TraceEstimate",
    "gauss_newton_product",
    "gradient_alignment",
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

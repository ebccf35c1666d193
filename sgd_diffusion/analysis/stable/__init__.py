"""Compute the alpha-stable law, fit it to samples, and compare it with other laws."""

from sgd_diffusion.analysis.stable import quick_fits
from sgd_diffusion.analysis.stable.comparison import (
    VuongTest,
    compare,
    compare_with_normal,
    ks_distance,
    vuong,
)
from sgd_diffusion.analysis.stable.fits import StableFit, bootstrap_fit, fit
from sgd_diffusion.analysis.stable.law import cdf, logpdf, pdf, sample

__all__ = [
    "StableFit",
    "VuongTest",
    "bootstrap_fit",
    "cdf",
    "compare",
    "compare_with_normal",
    "fit",
    "ks_distance",
    "logpdf",
    "pdf",
    "quick_fits",
    "sample",
    "vuong",
]

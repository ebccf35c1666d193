"""NetCDF files as bytes, so that they are written whole and read once."""

import io
from typing import Literal

import xarray as xr

__all__ = ["from_netcdf", "to_netcdf"]

# The same dataset gives the same bytes. The netCDF4 library is several times as fast with many
# small variables, but it writes the time into its files.
ENGINE: Literal["h5netcdf"] = "h5netcdf"


def to_netcdf(dataset: xr.Dataset) -> bytes:
    """Return the content of a NetCDF file with this dataset.

    Args:
        dataset: real numbers and texts, by plain names.

    Raises:
        TypeError, ValueError, OSError, NotImplementedError: NetCDF cannot hold the dataset.
    """
    return bytes(dataset.to_netcdf(engine=ENGINE))


def from_netcdf(content: bytes) -> xr.Dataset:
    """Return the dataset of a NetCDF file, in memory.

    Args:
        content: of the file.

    Raises:
        OSError, ValueError, IndexError, KeyError: it is no such file, or it is damaged.
    """
    return xr.load_dataset(io.BytesIO(content), engine=ENGINE)

"""NetCDF files as bytes, so that they are written whole and read once."""

import io

import xarray as xr

__all__ = ["from_netcdf", "to_netcdf"]


def to_netcdf(dataset: xr.Dataset) -> bytes:
    """Return the content of a NetCDF file with this dataset.

    Args:
        dataset: real numbers and texts, by plain names.

    Raises:
        TypeError, ValueError, OSError, NotImplementedError: NetCDF cannot hold the dataset.
    """
    # The same dataset gives the same bytes. The netCDF4 library writes the time into its files.
    return bytes(dataset.to_netcdf(engine="h5netcdf"))


def from_netcdf(content: bytes, *, checked: bool = False) -> xr.Dataset:
    """Return the dataset of a NetCDF file, in memory.

    Args:
        content: of the file.
        checked: whether a checksum says that it is what was written. The netCDF4 library then reads
            it, ten times as fast. Some damage would end the process there.

    Raises:
        OSError, ValueError: it is no such file, or it is damaged.
    """
    if checked:
        return xr.load_dataset(content, engine="netcdf4")
    try:
        return xr.load_dataset(io.BytesIO(content), engine="h5netcdf")
    except (LookupError, RuntimeError, OverflowError) as error:
        raise ValueError(f"it is no NetCDF file, or it is damaged: {error}") from error

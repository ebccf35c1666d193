"""NetCDF files as bytes, so that they are written whole and read once."""

import io

import xarray as xr

__all__ = ["DAMAGE", "from_netcdf", "to_netcdf"]

# What HDF5 and its readers raise of bytes that are no such file, or damaged.
DAMAGE = (OSError, ValueError, LookupError, RuntimeError, OverflowError)


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
    source, engine = (content, "netcdf4") if checked else (io.BytesIO(content), "h5netcdf")
    try:
        return xr.load_dataset(source, engine=engine)
    except (OSError, ValueError):
        raise
    except DAMAGE as error:
        raise ValueError(f"it is no NetCDF file, or it is damaged: {error}") from error

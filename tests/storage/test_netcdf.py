"""NetCDF files as bytes."""

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.storage.netcdf import from_netcdf, to_netcdf


@pytest.fixture
def dataset():
    return xr.Dataset(
        {"a": ("x", np.arange(3.0)), "b": ((), np.int32(2)), "c": ("x", ["one", "two", "three"])},
        coords={"x": [1, 2, 3]},
        attrs={"text": "said"},
    )


@pytest.mark.parametrize("checked", [False, True])
def test_what_is_written_is_read(dataset, checked):
    xr.testing.assert_identical(from_netcdf(to_netcdf(dataset), checked=checked), dataset)


def test_the_same_dataset_gives_the_same_bytes(dataset):
    assert to_netcdf(dataset) == to_netcdf(dataset.copy(deep=True))


# h5netcdf closes what it could not open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("position", [0, 24, 48])
def test_a_damaged_superblock_is_an_error_of_the_file(dataset, position):
    content = bytearray(to_netcdf(dataset))
    content[position] ^= 0xFF
    with pytest.raises((OSError, ValueError)):
        from_netcdf(bytes(content))


@pytest.mark.parametrize("error", [KeyError("addr overflow"), RuntimeError("H5DSget_num_scales")])
def test_errors_of_hdf5_are_errors_of_the_file(dataset, monkeypatch, error):
    """Some damaged bytes raise them, others in other versions of HDF5."""

    def load(*_, **__):
        raise error

    monkeypatch.setattr(xr, "load_dataset", load)
    with pytest.raises(ValueError, match=r"no NetCDF file, or it is damaged: .*(addr|H5DS)"):
        from_netcdf(to_netcdf(dataset))


def test_an_empty_file_is_none():
    with pytest.raises((OSError, ValueError)):
        from_netcdf(b"")

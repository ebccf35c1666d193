"""NetCDF files as bytes."""

import time

import numpy as np
import pytest
import xarray as xr

from sgd_diffusion.storage.netcdf import from_netcdf, to_netcdf


@pytest.fixture
def dataset():
    return xr.Dataset(
        {
            "a": ("x", [1.0, np.nan, 3.0], {"units": "steps"}),
            "b": ((), np.int32(2)),
            "c": ("x", ["one", "", "drei Wörter"]),
            "d": ("x", [True, False, True]),
            "e": (("x", "none"), np.zeros((3, 0), np.float32)),
        },
        coords={"x": [1, 2, 3]},
        attrs={"text": "said", "empty": ""},
    )


@pytest.mark.parametrize("checked", [False, True])
def test_what_is_written_is_read(dataset, checked):
    xr.testing.assert_identical(from_netcdf(to_netcdf(dataset), checked=checked), dataset)


def test_the_same_dataset_gives_the_same_bytes(dataset):
    content, second = to_netcdf(dataset), int(time.time())
    while int(time.time()) == second:  # HDF5 keeps times in seconds
        time.sleep(0.01)
    assert to_netcdf(dataset.copy(deep=True)) == content


@pytest.mark.parametrize(
    "values",
    [
        {"a/b": ("x", [1])},
        {"a ": ("x", [1])},
        {1: ("x", [1])},
        {"a": ("x", [1j])},
        {"a": ("x", np.zeros(2, np.float16))},
    ],
)
def test_what_netcdf_does_not_hold_is_refused(values):
    with pytest.raises((TypeError, ValueError)):
        to_netcdf(xr.Dataset(values))


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

"""Records as labelled arrays: dims, units, and a round trip through netCDF."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from collapse_jax import Metric
from collapse_jax.drivers import results
from collapse_jax.drivers.results import join_records, kept_params, read_netcdf, to_dataset, write_netcdf


def _records(first: int, last: int, num_seeds: int = 3):
    """Records of generations `first` to `last`; every value says its seed and generation."""
    seed, generation = np.meshgrid(np.arange(num_seeds), np.arange(first, last + 1), indexing="ij")
    number = (100 * seed + generation).astype(np.float32)
    return {
        "spread": number,
        "means": number[..., None] + np.array([0.0, 0.5], np.float32),
        "is_finite": generation % 2 == 0,
        "em_steps": generation.astype(np.int32),
        "pixels": np.repeat(number[..., None, None], 6, axis=-1).astype(np.uint8),
        "table": np.zeros((*number.shape, 4, 5), np.float32),
    }


METRICS = (
    Metric("spread", (), "nats", None),
    Metric("means", ("axis",), "data units", None),
    Metric("pixels", ("image", "pixel"), "1/255 intensity", None),
)


@pytest.fixture
def dataset():
    records = join_records([_records(0, 0), _records(1, 2), _records(3, 3)])
    return to_dataset(records, METRICS, {"title": "a run", "seed": 3})


def test_segments_join_along_generations(dataset):
    for name, values in _records(0, 3).items():
        np.testing.assert_array_equal(dataset[name], values)


def test_dims_coordinates_and_units(dataset):
    assert dataset.spread.dims == ("seed", "generation")
    assert dataset.means.dims == ("seed", "generation", "axis")
    assert dataset.pixels.dims == ("seed", "generation", "image", "pixel")
    # what the fit reports has no metric to describe it: dims carry its name
    assert dataset.table.dims == ("seed", "generation", "table_0", "table_1")
    assert {name: array.attrs["units"] for name, array in dataset.items()} == {
        "spread": "nats",
        "means": "data units",
        "pixels": "1/255 intensity",
        "is_finite": "1",
        "em_steps": "1",
        "table": "1",
    }
    assert dataset.seed.values.tolist() == [0, 1, 2] and dataset.generation.values.tolist() == [0, 1, 2, 3]
    assert dataset.attrs == {"title": "a run", "seed": 3}
    assert dataset.sel(seed=2, generation=3).spread == 203


def test_a_changed_file_is_seen_before_hdf5_opens_it(dataset, tmp_path, monkeypatch):
    """One changed bit of a file's table of names sent HDF5 round in circles for good."""
    path = tmp_path / "trajectory.nc"
    write_netcdf(dataset, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    monkeypatch.setattr(results.h5py, "File", lambda path: pytest.fail("HDF5 was asked"))
    end = len(whole) - results._TAIL
    for place in [*rng.integers(end, size=300), *range(end + len(results._MARK), len(whole) - 1)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="its check sum differs"):
            read_netcdf(path)


def test_a_file_that_another_program_wrote_is_read(dataset, tmp_path):
    path = tmp_path / "trajectory.nc"
    write_netcdf(dataset, path)
    xr.open_dataset(path, engine="h5netcdf").to_netcdf(tmp_path / "again.nc", engine="h5netcdf")
    assert read_netcdf(tmp_path / "again.nc").equals(read_netcdf(path))


def test_netcdf_keeps_values_types_and_units(dataset, tmp_path):
    path = tmp_path / "records.nc"
    write_netcdf(dataset, path)
    back = read_netcdf(path)
    assert set(back) == set(dataset)
    for name in dataset:
        np.testing.assert_array_equal(back[name], dataset[name])
        assert (
            back[name].dims == dataset[name].dims
            and back[name].attrs["units"] == dataset[name].attrs["units"]
        )
        expected = np.dtype(np.int8) if dataset[name].dtype == bool else dataset[name].dtype
        assert back[name].dtype == expected, name
    assert dict(back.attrs) == dataset.attrs
    assert dataset.is_finite.dtype == bool  # the data set that was written is as it was


def test_a_written_file_can_be_replaced(dataset, tmp_path):
    """What was read is in memory and holds no lock on the file."""
    path = tmp_path / "records.nc"
    write_netcdf(dataset, path)
    back = read_netcdf(path)
    write_netcdf(dataset.isel(seed=[0]), path)
    assert back.sizes["seed"] == 3 and read_netcdf(path).sizes["seed"] == 1


@pytest.mark.parametrize("content", [None, b"", b"not netCDF at all"])
def test_an_unreadable_file_meets_a_sentence(tmp_path, content):
    path = tmp_path / "records.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"records.nc cannot be read as netCDF"):
        read_netcdf(path)


def test_params_of_chosen_generations(tmp_path):
    def state(generation):
        return SimpleNamespace(params={"w": np.full((3, 2), generation), "b": np.full(3, generation / 2)})

    kept = kept_params({5: state(5), 0: state(0)})
    assert kept.kept_generation.values.tolist() == [0, 5]
    weights = kept["params['w']"]
    assert weights.dims[:2] == ("seed", "kept_generation") and weights.shape == (3, 2, 2)
    np.testing.assert_array_equal(weights.sel(kept_generation=5), np.full((3, 2), 5))
    assert kept["params['b']"].shape == (3, 2)
    write_netcdf(kept, tmp_path / "params.nc")
    np.testing.assert_array_equal(read_netcdf(tmp_path / "params.nc")["params['w']"], weights)

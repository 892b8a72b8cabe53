"""Embedded and folder digits, broken files, and artificial truths."""

import gzip
import hashlib
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax.datasets.mnist as mnist
from collapse_jax.datasets.mnist import load_mnist, pooled_digits, read_idx
from collapse_jax.datasets.synthetic import GaussianMixture, single_cloud, two_gaussians

EMBEDDED = Path(mnist.__file__).parent / "files"
# of the decompressed files, which are the canonical training files cut after 10,000 rows
SHA256 = {
    "mnist-first10000-images-idx3-ubyte.gz": "2889698e6bc3614913e76901316712919d1998fc2b44512451bfe65bc1e668b1",
    "mnist-first10000-labels-idx1-ubyte.gz": "651e38e2ac0632f5113ec18f1df4977117f953197819034009971a6675a0df78",
}
LABEL_COUNTS = [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]


@pytest.fixture(scope="module")
def digits():
    return load_mnist()


def _idx(array: np.ndarray) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def _small(seed: int, num: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, 28, 28), dtype=np.uint8), rng.integers(0, 10, num, dtype=np.uint8)


def _write(
    folder: Path, split: str = "train", packed: bool = True, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _small(seed)
    for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
        content = _idx(array)
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return images, labels


def _refusal(function, *args) -> str:
    """The message of a ValueError: one sentence on one line."""
    with pytest.raises(ValueError) as caught:
        function(*args)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 400
    return message


# --- embedded digits


@pytest.mark.parametrize("name", SHA256)
def test_embedded_files_are_the_canonical_bytes(name):
    assert hashlib.sha256(gzip.decompress((EMBEDDED / name).read_bytes())).hexdigest() == SHA256[name]


def test_embedded_files_carry_their_licence():
    assert "CC BY-SA 3.0" in (EMBEDDED / "NOTICE-mnist.txt").read_text()


def test_embedded_digits_have_the_known_labels_and_range(digits):
    assert digits.images.shape == (10_000, 784) and digits.images.dtype == np.float32
    assert digits.images.min() == 0.0 and digits.images.max() == 1.0
    assert np.bincount(digits.labels).tolist() == LABEL_COUNTS
    assert digits.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_embedded_pixels_are_bytes_over_255(digits):
    np.testing.assert_array_equal(np.round(digits.images[:100] * 255) / np.float32(255), digits.images[:100])
    # the mean intensity of the 60,000 training images is 0.1307
    assert digits.images.mean() == pytest.approx(0.1307, abs=0.002)


# --- a folder of files


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("split", ["train", "t10k"])
def test_a_folder_of_canonical_files_is_read(tmp_path, split, packed):
    images, labels = _write(tmp_path, split, packed)
    got = load_mnist(tmp_path, split)
    np.testing.assert_array_equal(got.images, images.reshape(5, 784).astype(np.float32) / 255)
    np.testing.assert_array_equal(got.labels, labels)
    assert got.images.dtype == np.float32


def test_a_folder_may_be_named_by_a_string(tmp_path):
    _write(tmp_path)
    assert load_mnist(str(tmp_path)).images.shape == (5, 784)


def test_the_two_splits_of_a_folder_are_two_data_sets(tmp_path):
    _write(tmp_path, "train", seed=0)
    _write(tmp_path, "t10k", seed=1)
    assert not np.array_equal(load_mnist(tmp_path, "train").images, load_mnist(tmp_path, "t10k").images)


def test_a_gz_file_under_the_plain_name_is_read(tmp_path):
    images, _ = _write(tmp_path, packed=True)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_suffix(""))
    np.testing.assert_array_equal(
        load_mnist(tmp_path).images, images.reshape(5, 784).astype(np.float32) / 255
    )


def test_a_truncated_gz_file_is_refused_wherever_it_is_cut(tmp_path):
    _write(tmp_path, packed=True)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert path.name in _refusal(load_mnist, tmp_path)


def test_a_damaged_gz_file_is_refused(tmp_path):
    _write(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert path.name in _refusal(load_mnist, tmp_path)


def test_a_truncated_plain_file_is_refused_wherever_it_is_cut(tmp_path):
    _write(tmp_path, packed=False)
    path = tmp_path / "train-labels-idx1-ubyte"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert path.name in _refusal(load_mnist, tmp_path)


def test_a_plain_file_with_more_than_it_says_is_refused(tmp_path):
    _write(tmp_path, packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"\0")
    assert path.name in _refusal(load_mnist, tmp_path)


@pytest.mark.parametrize(
    "magic", [b"\0\0\x0d\x03", b"\x01\0\x08\x03", b"<htm"], ids=["floats", "shifted", "html"]
)
def test_a_wrong_magic_number_is_refused(tmp_path, magic):
    _write(tmp_path, packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(magic + path.read_bytes()[4:])
    message = _refusal(load_mnist, tmp_path)
    assert path.name in message and "not an IDX file" in message


@pytest.mark.parametrize("shape", [(5, 28, 27), (5, 784), (4, 28, 28)], ids=["width", "flat", "count"])
def test_wrong_dimensions_are_refused(tmp_path, shape):
    _write(tmp_path, packed=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_idx(np.zeros(shape)))
    message = _refusal(load_mnist, tmp_path)
    assert str(tmp_path) in message and str(shape) in message


@pytest.mark.parametrize("missing", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_a_missing_file_is_named(tmp_path, missing):
    _write(tmp_path, packed=False)
    (tmp_path / missing).unlink()
    message = _refusal(load_mnist, tmp_path)
    assert missing in message and f"{missing}.gz" in message


def test_a_missing_folder_is_named(tmp_path):
    assert str(tmp_path / "nowhere") in _refusal(load_mnist, tmp_path / "nowhere")


def test_a_split_that_is_not_there_is_refused(tmp_path):
    _write(tmp_path, "train")
    assert "t10k-images-idx3-ubyte" in _refusal(load_mnist, tmp_path, "t10k")
    assert "'t10k'" in _refusal(load_mnist, None, "t10k")
    assert "'test'" in _refusal(load_mnist, tmp_path, "test")


def test_read_idx_returns_any_shape(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "cube").write_bytes(_idx(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "cube"), array)


# --- artificial truths


@pytest.mark.parametrize(
    "truth, total", [(two_gaussians(4.0), 6.0), (two_gaussians(2.0), 3.0), (single_cloud(), 2.0)]
)
def test_total_variance_is_within_plus_between(truth, total):
    # 2 within, (separation / 2)^2 between; exact in float64
    assert truth.total_variance == total
    np.testing.assert_array_equal(truth.mean, [0.0, 0.0])


@pytest.mark.parametrize("separation", [0.0, -1.0, float("nan")])
def test_a_separation_that_is_not_positive_is_refused(separation):
    assert "`separation`" in _refusal(two_gaussians, separation)


SKEWED = GaussianMixture(
    np.array([0.3, 0.7]),
    np.array([[-2.0, 1.0], [1.0, 0.0]]),
    np.array([[[1.0, 0.6], [0.6, 2.0]], [[0.5, -0.2], [-0.2, 0.3]]]),
)


@pytest.mark.parametrize("truth", [two_gaussians(4.0), SKEWED], ids=["two", "skewed"])
def test_the_sampler_has_the_moments_it_states(truth):
    num = 200_000
    data = jax.jit(truth.sampler(num))(jax.random.key(0))
    assert data.x.shape == (num, 2) and float(data.total_weight) == num
    x = np.asarray(data.x, np.float64)
    # power: 5 standard errors are 0.02 in the mean and 0.06 in the largest variance, 5
    z_mean = (x.mean(axis=0) - truth.mean) / np.sqrt(np.diag(truth.covariance) / num)
    assert np.all(np.abs(z_mean) < 5)
    centred = x - truth.mean
    products = centred[:, :, None] * centred[:, None, :]
    z_cov = (products.mean(axis=0) - truth.covariance) / (products.std(axis=0) / np.sqrt(num))
    assert np.all(np.abs(z_cov) < 5)


def test_the_components_are_drawn_by_weight_and_shape():
    # far apart, so that each point tells its component
    means = np.array([[-100.0, 0.0], [100.0, 0.0]])
    truth = SKEWED._replace(means=means)
    num = 100_000
    x = np.asarray(truth.sample(jax.random.key(1), num).x, np.float64)
    first = x[:, 0] < 0
    # power: 5 standard errors of the share are 0.007
    assert abs(first.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / num)
    for k, rows in enumerate((x[first], x[~first])):
        centred = rows - means[k]
        products = centred[:, :, None] * centred[:, None, :]
        z = (products.mean(axis=0) - truth.covariances[k]) / (products.std(axis=0) / np.sqrt(len(rows)))
        assert np.all(np.abs(z) < 5)  # 5 standard errors: 4 % of a variance; a transposed factor is 50 % off


def test_sampler_needs_a_positive_number():
    with pytest.raises(ValueError, match="`num` must be at least 1"):
        two_gaussians().sampler(0)


def test_two_keys_give_two_data_sets():
    sampler = two_gaussians().sampler(10)
    assert not jnp.array_equal(sampler(jax.random.key(0)).x, sampler(jax.random.key(1)).x)


@pytest.mark.parametrize("side", [4, 7, 8, 14])
def test_pooled_digits_are_means_of_squares(side):
    """Their sum is that of the image by the area of a square; 8 does not divide 28, so that a border is added."""
    images = np.random.default_rng(0).uniform(size=(3, 784)).astype(np.float32)
    pooled = pooled_digits(images, side)
    full = -(-28 // side) * side
    np.testing.assert_allclose(pooled.sum(axis=1) * (full // side) ** 2, images.sum(axis=1), rtol=1e-5)
    begin = (full - 28) // 2
    square = np.zeros((full, full))
    square[begin : begin + 28, begin : begin + 28] = images[1].reshape(28, 28)
    size = full // side
    assert pooled[1].reshape(side, side)[1, 2] == pytest.approx(
        square[size : 2 * size, 2 * size : 3 * size].mean(), rel=1e-5
    )


@pytest.mark.parametrize("images, side", [(np.ones((2, 783)), 8), (np.ones((2, 16)), 8), (np.ones(784), 8)])
def test_what_cannot_be_pooled_meets_a_sentence(images, side):
    with pytest.raises(ValueError, match="`images` must be rows of square images"):
        pooled_digits(images, side)

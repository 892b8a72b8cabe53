"""Images in MNIST's format as other programs lay them out: found, or a sentence that says what is looked for."""

import gzip
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from collapse_jax.datasets.mnist import load_mnist, mnist_sums
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.metrics.digit_classifiers import JUDGEMENTS
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.execute import execute
from collapse_jax.runs.job import Job
from collapse_jax.runs.report import write_report
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import find_study
from collapse_jax.studies.vae.config import PRESETS
from collapse_jax.studies.vae.study import evidence, remarks

KINDS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array):
    """The bytes of an IDX file."""
    head = b"\0\0\x08" + bytes([array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    return head + array.tobytes()


def arrays(seed=0, num=6):
    """Images and labels of both splits by their names."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, num, 28, 28)).astype(np.uint8)
    labels = rng.integers(0, 10, (2, num)).astype(np.uint8)
    return dict(zip(KINDS, (images[0], labels[0], images[1], labels[1])))


def write(folder, held, name=lambda kind: kind):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in held.items():
        path = folder / name(kind)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))


def dotted(kind):
    return kind.replace("-idx", ".idx")


LAYOUTS = {
    "canonical": ("", lambda kind: kind),
    "packed": ("", lambda kind: f"{kind}.gz"),
    "Kaggle's": ("", dotted),
    "Kaggle's, packed": ("", lambda kind: f"{dotted(kind)}.gz"),
    "Kaggle's archive": ("", lambda kind: f"{kind}/{kind}"),
    "torchvision's": ("MNIST/raw", lambda kind: kind),
    "torchvision's, of clothes": ("FashionMNIST/raw", lambda kind: f"{kind}.gz"),
    "inside torchvision's": ("raw", lambda kind: kind),
    "half and half": ("", lambda kind: dotted(kind) if "t10k" in kind else f"{kind}.gz"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_four_files_are_found(tmp_path, layout):
    inside, name = LAYOUTS[layout]
    held = arrays()
    write(tmp_path / inside, held, name)
    for split in ("train", "t10k"):
        found = load_mnist(tmp_path, split)
        images, labels = (array for kind, array in held.items() if kind.startswith(split))
        np.testing.assert_array_equal(found.images, images.reshape(-1, 784).astype(np.float32) / 255)
        np.testing.assert_array_equal(found.labels, labels)
    write(tmp_path / "plain", held)
    assert mnist_sums(tmp_path) == mnist_sums(tmp_path / "plain")


def test_of_several_collections_one_must_be_named(tmp_path):
    for seed, name in enumerate(("MNIST", "FashionMNIST")):
        write(tmp_path / name / "raw", arrays(seed))
    with pytest.raises(ValueError, match=r"several collections, FashionMNIST/raw and MNIST/raw; name"):
        load_mnist(tmp_path)
    assert not np.array_equal(load_mnist(tmp_path / "MNIST").images, load_mnist(tmp_path / "FashionMNIST").images)
    write(tmp_path, arrays(5))  # the folder's own files go first
    np.testing.assert_array_equal(load_mnist(tmp_path).labels, arrays(5)["train-labels-idx1-ubyte"])


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        (0, lambda a: np.zeros((6, 32, 32), np.uint8), r"32 x 32 pixels, which are not MNIST's 28 x 28; scale"),
        (0, lambda a: np.zeros((6, 28, 30), np.uint8), r"images of 28 x 30 pixels"),
        (0, lambda a: np.zeros((6, 28, 28, 3), np.uint8), r"shape \(6, 28, 28, 3\) .*expected grey images"),
        (0, lambda a: a.reshape(6, 784), r"shape \(6, 784\)"),
        (0, lambda a: a[:5], r"has 5 images .* and train-labels-idx1-ubyte 6 labels"),
        (1, lambda a: np.r_[a, a], r"has 6 images .* and train-labels-idx1-ubyte 12 labels"),
        (1, lambda a: a + 1 - a.max() + 9, r"labels up to 10, where digits have 0 to 9"),
        (1, lambda a: a + 40, r"labels up to 4\d"),
        (1, lambda a: np.eye(10, dtype=np.uint8)[a], r"train-labels-idx1-ubyte \(6, 10\)"),
    ],
)
def test_what_is_not_mnist_s_kind_is_told(tmp_path, kind, change, told):
    held = arrays()
    held[KINDS[kind]] = change(held[KINDS[kind]]).astype(np.uint8)
    write(tmp_path, held)
    with pytest.raises(ValueError, match=told):
        load_mnist(tmp_path)


def test_no_image_is_told(tmp_path):
    write(tmp_path, arrays(num=0))
    with pytest.raises(ValueError, match="holds no image"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("inside", ["", "EMNIST/raw"])
def test_emnist_s_names_are_told_with_what_is_looked_for(tmp_path, inside):
    names = {"train": "emnist-digits-train", "t10k": "emnist-digits-test"}
    write(tmp_path / inside, arrays(), lambda kind: names[kind[: kind.index("-")]] + kind[kind.index("-") :] + ".gz")
    with pytest.raises(ValueError, match=r"emnist-digits-test-images.*lie on their side.*as train-images-idx3-ubyte"):
        load_mnist(tmp_path)


def test_a_folder_of_other_things_is_told_all_names(tmp_path):
    (tmp_path / "train.csv").write_text("label,pixel0\n")
    with pytest.raises(ValueError, match=r"neither train-images-idx3-ubyte nor .*, nor train-images\.idx3-ubyte with"):
        load_mnist(tmp_path)


def _digits(change=lambda images: images, num=100):
    """Real digits in a folder's files, the pictures changed: 200 to train on, the last ones to test."""
    digits = load_mnist()
    images = (digits.images * 255).round().astype(np.uint8).reshape(-1, 28, 28)
    rows = slice(0, 200), slice(len(images) - num, None)
    parts = [part for split in rows for part in (change(images[split]), digits.labels[split])]
    return dict(zip(KINDS, parts))


OTHERS = {
    "moved and grey": lambda images: np.roll(images, 7, axis=2) // 2 + 60,
    "inverted": lambda images: 255 - images,
    "on their side": lambda images: images.transpose(0, 2, 1),
    "noise": lambda images: np.random.default_rng(len(images)).integers(0, 256, images.shape).astype(np.uint8),
}
CONFIG = replace(
    PRESETS["smoke"], generations=1, seeds=2, num_samples=64, num_digits=None, num_steps=2, num_measured=20,
    num_judged=20,
)  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_remark_says_that_the_judges_do_not_know_the_images(tmp_path, name):
    write(tmp_path, _digits(OTHERS[name]))
    (remark,) = remarks(replace(CONFIG, data_folder=str(tmp_path)))
    assert "do not know these images: the judges must be 97% right" in remark and "neither drawn nor judged" in remark
    assert remarks(replace(CONFIG, data_folder=str(tmp_path), num_judged=0)) == ()


def test_of_digits_there_is_nothing_to_remark(tmp_path):
    write(tmp_path, _digits())
    assert remarks(replace(CONFIG, data_folder=str(tmp_path))) == remarks(CONFIG) == ()


@pytest.mark.heavy
def test_a_report_on_other_images_says_nothing_that_rests_on_the_judges(tmp_path):
    """No accuracy, no line of real digits, no panel of theirs, no verdict; losses on held-out images are drawn."""
    write(tmp_path / "other", _digits(OTHERS["moved and grey"]))
    config = replace(CONFIG, data_folder=str(tmp_path / "other"))
    run = tmp_path / "run"
    execute(Job(find_study("vae"), config, run, "smoke", "test"), on_progress=lambda _: None)
    page = write_report([RunDirectory(run)], tmp_path / "report.html").read_text()
    assert 'class="remark">The classifiers of digits do not know these images' in page
    assert "accuracy" not in page and "97.8" not in page
    assert (run / "figures" / "held_out.png").is_file() and not (run / "figures" / "judges.png").exists()
    verdicts = {verdict["name"]: verdict for verdict in RunDirectory(run).verdicts}
    for name in ("unreadable", "digits-mix"):
        assert verdicts[name]["verdict"] == "not testable"
        assert "right on held-out real images" in verdicts[name]["reason"]
    dataset = read_netcdf(run / "trajectory.nc")
    pictures = {picture.name: picture for picture in load(find_study("vae")).figures(config, dataset)}
    (panel,) = pictures["held_out"].figure.axes
    loss = dataset["held_out_loss"].isel(num_samples=0).median("seed")
    np.testing.assert_allclose(panel.get_lines()[0].get_ydata(), loss)


@pytest.mark.parametrize(("accuracy", "unanimous", "name"), [(0.98, 0.96, "judges"), (0.1, 0.1, "held_out")])
def test_what_judges_see_is_drawn_where_they_know_the_images(accuracy, unanimous, name):
    """And what bright images have more of entropy than any published loss ends no report."""
    dims, shape = ("num_samples", "seed", "generation"), (1, 2, 3)
    names = ("latent_spread", "latent_mean", "pixel_variance", "sharpness", "loss", "held_out_loss",
             "held_out_reconstruction", "real_unanimous_share")  # fmt: skip
    dataset = xr.Dataset({variable: (dims, np.full(shape, unanimous)) for variable in names})
    dataset["judged"] = ((*dims, "judgement"), np.full((*shape, len(JUDGEMENTS)), 0.5))
    dataset["judge_accuracy"] = ((*dims, "judge"), np.full((*shape, 5), accuracy))
    dataset["images"] = ((*dims, "image", "pixel"), np.zeros((*shape, 20, 784), np.uint8))
    dataset = dataset.assign_coords(num_samples=[64], seed=range(2), generation=range(3), judgement=list(JUDGEMENTS))
    pictures = load(find_study("vae")).figures(CONFIG, dataset)
    assert [picture.name for picture in pictures] == ["digits", "latent", "pixels", name]
    assert ("accuracy" in pictures[-1].caption) == (name == "judges")
    read = {"targets_entropy": 440.0, "sharpness": 2.0, "blurred_sharpness": 0.5}
    found = {item.claim.name: item for item in evidence(CONFIG, dataset.assign_attrs(data=json.dumps(read)))}
    assert np.isnan(found["published-loss-0"].claim.null) and found["published-loss-0"].unmet
    assert ("right on held-out real images" in found["digits-mix"].unmet) == (name == "held_out")

"""The examples of experiments/watch_gallery.py, small: libraries of others under the monitor."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
_FOLDER = Path(__file__).parent.parent.parent / "experiments"


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("watch_gallery", _FOLDER / "watch_gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def _watched(gallery, example):
    """Return what the monitor says of an example, the qualities, and the sentence on its alarm."""
    generations = list(example.generations)
    watched = gallery.watch(example.reference, [one[:2] for one in generations], example.options)
    quality = [one[2] for one in generations]
    assert np.isfinite(quality).all() and len(watched.forecasts) == len(generations)
    return watched, quality


def test_a_mixture_of_wines_loses_its_range(gallery, capsys):
    watched, quality = _watched(gallery, gallery.wine(num_generations=12))
    assert (
        gallery.differs(watched.monitor.readings[0]) == "Nothing in generation 0 tells it from the reference."
    )
    assert watched.monitor.alarm is not None and watched.monitor.alarm >= 3
    last = watched.monitor.readings[-1]
    assert last["range"].value < last["range"].low
    gallery.show(watched, quality)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "gen" and "!" in lines[-1] and len(lines) <= 2 + gallery.MOST_LINES


def test_a_density_by_cross_validation_spreads(gallery):
    watched, quality = _watched(gallery, gallery.diabetes(num_generations=4))
    variance = [one["variance"].value for one in watched.monitor.readings]
    assert variance == sorted(variance) and variance[0] > 1.2
    assert gallery.differs(watched.monitor.readings[0]).startswith(
        "Generation 0 differs from the reference already, by variance"
    )
    assert watched.monitor.alarm == 2 and gallery.left(watched.forecasts[-1]) == "does not fall"
    assert quality[-1] < quality[0]


@pytest.mark.parity
@pytest.mark.parametrize("name", ["tumours", "digits", "texts"])
def test_networks_of_others_are_watched(gallery, name, monkeypatch):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(_FOLDER))
    if name == "tumours":
        pytest.importorskip("ctgan")
        example = gallery.tumours(num_generations=2, epochs=2)
    elif name == "digits":
        import torch_vae

        monkeypatch.setattr(torch_vae, "STEPS", 20)
        example = gallery.digits(num_generations=2, num_images=200)
    else:
        pytest.importorskip("transformers")
        example = gallery.texts(num_generations=2, num_texts=40, epochs=1)
    watched, _ = _watched(gallery, example)
    torch.set_num_threads(threads)
    kinds = {"tumours": "table", "digits": "images", "texts": "texts"}
    assert watched.monitor.kind.name == kinds[name]
    assert [one.generation for one in watched.monitor.readings] == [0, 1]
    assert watched.monitor.readings[-1].measured


def test_one_may_be_chosen(gallery, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(gallery.EXAMPLES, "diabetes", lambda: gallery.diabetes(num_generations=3))
    gallery.main(["diabetes"], tmp_path)
    told = capsys.readouterr().out
    assert "alarm in generation 2, by" in told and "Since generation 0" in told
    assert not list(tmp_path.iterdir())  # the figure is of all


def test_what_is_not_installed_is_left_out(gallery, capsys, tmp_path, monkeypatch):
    def absent():
        raise ModuleNotFoundError("No module named 'ctgan'")

    monkeypatch.setitem(gallery.EXAMPLES, "tumours", absent)
    gallery.main(["tumours"], tmp_path)
    assert "tumours: left out, No module named 'ctgan'" in capsys.readouterr().out

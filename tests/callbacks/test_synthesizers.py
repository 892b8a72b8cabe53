"""Synthesizers under a monitor: generation after generation, with the first evidence of a collapse."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from collapse_jax.callbacks.synthesizers import watch_synthesizer
from collapse_jax.monitor import Monitor
from collapse_jax.validation import RunFailed

REAL = np.random.default_rng(1).normal(size=(200, 2)) * [1.0, 3.0] + [0.0, 5.0]


def mixture(rows, num, generation):
    return GaussianMixture(1, random_state=generation).fit(rows).sample(num)[0]


def exact(rows, num, generation):
    """Draws from the truth, whatever it is shown."""
    return np.random.default_rng([7, generation]).normal(size=(num, 2)) * [1.0, 3.0] + [0.0, 5.0]


def table(num=400, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.choice(["a", "b", "c"], num, p=[0.7, 0.25, 0.05])
    return pd.DataFrame({"age": rng.normal(40, 9, num).round(1), "state": states})


def bootstrap(rows, num, generation):
    return rows.sample(num, replace=True, random_state=generation).reset_index(drop=True)


def test_one_gaussian_refitted_shrinks_and_is_seen():
    """By the law of one Gaussian of 100 rows half the variance is gone after 69 generations."""
    watched = watch_synthesizer(mixture, REAL, 150, stop_at_alarm=True)
    assert watched.monitor.alarm is not None and watched.last == watched.monitor.alarm < 150
    assert len(watched.training) == len(watched.reference) == len(watched.samples) == 100
    both = np.concatenate([watched.training, watched.reference])
    assert np.array_equal(np.sort(both, axis=0), np.sort(REAL, axis=0))  # each real row is on one side


def test_a_synthesizer_that_draws_from_the_truth_is_not_accused():
    watched = watch_synthesizer(exact, REAL, 30)
    assert watched.monitor.alarm is None and len(watched.monitor.readings) == 31


def test_a_density_that_widens_is_seen():
    """Scikit-learn's "scott" is a bandwidth in data units."""

    def density(rows, num, generation):
        return KernelDensity(bandwidth=0.6).fit(rows).sample(num, random_state=generation)

    watched = watch_synthesizer(density, REAL, 60, stop_at_alarm=True)
    assert watched.monitor.alarm is not None
    assert watched.monitor.readings[-1]["variance"].value > watched.monitor.readings[0]["variance"].value


def test_each_generation_is_fitted_to_what_the_last_one_wrote():
    seen = []

    def counting(rows, num, generation):
        seen.append((np.asarray(rows).copy(), generation))
        return np.full((num, 2), generation + 0.5) + np.arange(num)[:, None]

    watched = watch_synthesizer(counting, REAL, 3, num_samples=30, held_out=0.25)
    assert np.array_equal(seen[0][0], watched.training)
    assert len(watched.training) == 150 and len(watched.reference) == 50
    assert [generation for _, generation in seen] == [0, 1, 2, 3] and watched.last == 3
    assert all(np.array_equal(rows, np.full((30, 2), g - 0.5) + np.arange(30)[:, None]) for rows, g in seen[1:])


def test_tables_keep_their_columns_and_lose_their_categories():
    readings = []
    watched = watch_synthesizer(
        bootstrap, table(), 300, num_samples=60, on_reading=readings.append, stop_at_alarm=True
    )
    assert watched.monitor.alarm is not None and readings == watched.monitor.readings
    assert list(watched.samples.columns) == ["age", "state"]
    turned = watch_synthesizer(lambda rows, num, g: bootstrap(rows, num, g)[["state", "age"]], table(), 1)
    assert list(turned.samples.columns) == ["age", "state"]


def test_a_monitor_of_ones_own():
    given = Monitor(REAL, ["variance"])
    watched = watch_synthesizer(mixture, REAL, 2, monitor=given)
    assert watched.monitor is given and watched.reference is None and len(watched.training) == 200
    again = watch_synthesizer(mixture, REAL, 2, monitor=given)  # goes on
    assert [reading.generation for reading in again.monitor.readings] == [0, 1, 2, 3, 4, 5]
    made = watch_synthesizer(mixture, REAL, 1, monitor=lambda rows: Monitor(rows, ["drift"], alpha=0.2))
    assert made.monitor.needed == 5


def test_what_is_missing_in_real_rows_may_be_missing():
    real = table()
    real.loc[::5, "age"] = np.nan
    assert watch_synthesizer(bootstrap, real, 2).last == 2


def _at(generation, change):
    def fit_sample(rows, num, g):
        found = bootstrap(rows, num, g) if isinstance(rows, pd.DataFrame) else mixture(rows, num, g)
        return change(found) if g == generation else found

    return fit_sample


def _raise(found):
    raise ZeroDivisionError("no rows\nare left")


@pytest.mark.parametrize(("change", "error", "sentence"), [
    (lambda rows: rows.drop(columns="age"), ValueError, r"generation 2 lacks \['age'\]; its columns must be"),
    (lambda rows: rows.assign(more=1), ValueError, r"generation 2 has \['more'\] more; its columns"),
    (lambda rows: rows.rename(columns={"age": "b"}), ValueError, r"generation 2 lacks \['age'\] and has \['b'\] more"),
    (lambda rows: rows.assign(age=np.nan), ValueError, "generation 2 has missing values in 'age'"),
    (lambda rows: rows[:7], ValueError, "generation 2 has 7 rows, asked for were 200"),
    (lambda rows: rows.to_numpy(), TypeError, "returns at generation 2` must be a DataFrame"),
    (_raise, RunFailed, "raised ZeroDivisionError at generation 2: no rows are left.$"),
])  # fmt: skip
def test_a_table_that_is_none_gets_one_sentence(change, error, sentence):
    with pytest.raises(error, match=sentence):
        watch_synthesizer(_at(2, change), table(), 4)


@pytest.mark.parametrize(("change", "error", "sentence"), [
    (lambda rows: rows[:, :1], ValueError, r"generation 1 has shape \(100, 1\), real rows \(100, 2\)"),
    (lambda rows: rows[:, 0], ValueError, r"generation 1 has shape \(100,\)"),
    (lambda rows: np.where(np.eye(100, 2, -4) > 0, np.inf, rows), ValueError, "generation 1 has values in row 4 that"),
    (lambda rows: [[1.0], [1.0, 2.0]], ValueError, "generation 1 is no array"),
    (lambda rows: np.concatenate([rows, rows]), ValueError, "generation 1 has 200 rows, asked for were 100"),
    (_raise, RunFailed, "raised ZeroDivisionError at generation 1"),
])  # fmt: skip
def test_an_array_that_is_none_gets_one_sentence(change, error, sentence):
    with pytest.raises(error, match=sentence):
        watch_synthesizer(_at(1, change), REAL, 4)


@pytest.mark.parametrize(("arguments", "error", "sentence"), [
    ({"fit_sample": 3}, TypeError, "`fit_sample` must be a function"),
    ({"generations": -1}, ValueError, "`generations` must be at least 0"),
    ({"held_out": 1.5}, ValueError, "`held_out` must lie between 0 and 1"),
    ({"held_out": 0.01}, ValueError, "of 200 rows 2 are held out and 198 left"),
    ({"num_samples": 1}, ValueError, "`num_samples` must be at least 2"),
    ({"monitor": lambda rows: None}, TypeError, "`monitor` must be a Monitor"),
    ({"real": REAL[:1]}, ValueError, "`real` holds 1 rows"),
])  # fmt: skip
def test_mistakes_get_one_sentence(unchecked, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        watch_synthesizer(**{"fit_sample": mixture, "real": REAL, "generations": 1, **arguments})


@pytest.mark.parity
def test_ctgan_is_a_synthesizer():
    """Two epochs teach it little: it is far from the real table from generation 0 on."""
    torch, ctgan = pytest.importorskip("torch"), pytest.importorskip("ctgan")
    torch.set_num_threads(1)

    def fit_sample(rows, num, generation):
        model = ctgan.CTGAN(epochs=2, batch_size=100, enable_gpu=False)
        model.set_random_state(generation)
        model.fit(rows, ["state"])
        return model.sample(num)

    watched = watch_synthesizer(fit_sample, table(600), 3)
    assert watched.last == 3 and list(watched.samples.columns) == ["age", "state"]
    assert watched.monitor.alarm == 0 or watched.monitor.readings[-1].evidence > watched.monitor.readings[0].evidence


def test_neither_jax_nor_a_framework_is_imported():
    code = (
        "import sys, numpy as np; from collapse_jax.callbacks import watch_synthesizer; "
        "watch_synthesizer(lambda rows, num, g: rows + g, np.random.default_rng(0).normal(size=(60, 2)), 2); "
        "print('found', *({'jax', 'jaxlib', 'torch', 'transformers', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["found"]

"""Records of others: every way a file can be wrong has a sentence with its line; the page says what moved."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from collapse_jax.cli.main import run_command
from collapse_jax.numerics.holm import adjusted
from collapse_jax.records.external import read_records, report_records
from collapse_jax.records.verdicts import movements


def _csv(tmp_path, text, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _rows(values, header="seed,generation,loss"):
    """CSV of values [num_seeds, num_generations]; NaN as an empty cell."""
    lines = [
        f"{seed},{generation},{'' if np.isnan(value) else repr(float(value))}"
        for seed, row in enumerate(values)
        for generation, value in enumerate(row)
    ]
    return "\n".join([header, *lines]) + "\n"


def test_rows_in_any_order_become_a_dataset(tmp_path):
    text = "loss , generation,seed,fid\n3,20,7,\n1.5,0,7,nan\n\n 2 ,10.0,7,4e-3\n0,0,2,-inf\n"
    result = read_records(_csv(tmp_path, "\ufeff" + text))
    assert result.seed.values.tolist() == [2, 7] and result.generation.values.tolist() == [0, 10, 20]
    np.testing.assert_array_equal(result.loss, [[0, np.nan, np.nan], [1.5, 2, 3]])
    np.testing.assert_array_equal(result.fid, [[-np.inf, np.nan, np.nan], [np.nan, 0.004, np.nan]])
    assert result.loss.dims == ("seed", "generation") and result.attrs["source"] == "mine.csv"


def test_objects_line_by_line_give_the_same_dataset(tmp_path):
    """Metrics may be logged now and then, and without seeds there is one."""
    lines = [
        '{"generation": 0, "loss": 1}',
        '{"loss": null, "generation": 1, "fid": NaN}',
        "",
        '{"generation": 2, "fid": 3.5}',
    ]
    result = read_records(_csv(tmp_path, "\r\n".join(lines), "mine.jsonl"))
    other = read_records(_csv(tmp_path, "generation,loss,fid\r\n0,1,\r\n1,,\r\n2,,3.5\r\n"))
    assert result.drop_attrs().identical(other.drop_attrs()) and result.sizes == {"seed": 1, "generation": 3}
    assert result.seed.values.tolist() == [0]


def test_the_result_of_a_chain_goes_out_and_comes_back(tmp_path):
    """Flags among its numbers: a model of one's own gets a page this way."""
    values = np.random.default_rng(0).normal(size=(3, 4))
    flags = values > -1
    dims, axes = ("seed", "generation"), {"seed": range(3), "generation": range(4)}
    result = xr.Dataset({"loss": (dims, values), "is_finite": (dims, flags)}, axes)
    frame = result.to_dataframe()
    frame.to_csv(tmp_path / "mine.csv")
    back = read_records(tmp_path / "mine.csv")
    np.testing.assert_array_equal(back.loss, values)
    np.testing.assert_array_equal(back.is_finite, flags)
    frame.reset_index().to_json(tmp_path / "mine.jsonl", orient="records", lines=True, double_precision=15)
    again = read_records(tmp_path / "mine.jsonl")
    np.testing.assert_allclose(again.loss, values, rtol=1e-12)
    np.testing.assert_array_equal(again.is_finite, flags)


HEAD = "seed,generation,loss\n0,0,1\n0,1,2\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; it needs a row"),
        (" \n\n", "is empty"),
        (b"generation,loss\n0,\xff\n", r"is not UTF-8 \(byte 18\); save it as UTF-8"),
        ("generaton,loss\n0,1\n", "has no column 'generation'; did you mean 'generaton'"),
        ("seed,generation,loss\n", "holds no row beside its header"),
        ("seed,generation\n0,0\n0,1\n", "has no metric beside seed and generation"),
        ("generation,loss,loss\n0,1,1\n", "two columns named 'loss'"),
        ("generation,,loss\n0,1,1\n", "or one without a name"),
        (HEAD + "0,2,high\n", "line 4 of .*: `loss` is 'high', not a number"),
        (HEAD + "\n0,2,1;5\n", "line 5 of .*: `loss` is '1;5'"),
        (HEAD + "0,2\n", "line 4 of .* has 2 cells, the header 3"),
        (HEAD + "0,1,5\n", "line 4 of .* repeats seed 0, generation 1, of line 3; keep one"),
        (HEAD + "0,,5\n", "line 4 of .*: `generation` is '', not a whole number"),
        (HEAD + "0,1.5,5\n", "`generation` is '1.5', not a whole number"),
        (HEAD + "0,-1,5\n", "`generation` is '-1', not a whole number"),
        (HEAD + "x,2,5\n", "`seed` is 'x', not a number"),
        (HEAD + "0,3,5\n", "lacks generation 2; generations must be 0, 1, 2 and so on"),
        (HEAD + "0,2,5\n1,0,5\n1,2,5\n", "lacks generation 1 of seed 1; a seed may only end early"),
        (HEAD + "1,1,5\n", "lacks generation 0 of seed 1"),
        ("generation,loss\n4,1\n", "holds generation 4 alone"),
        ("generation,loss\n0," + "1" * 200_000 + "\n", "line 2 of .* is not CSV"),
    ],
)  # fmt: skip
def test_what_a_csv_file_may_not_be(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read_records(_csv(tmp_path, text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"generation": 0, "loss": 1}\n{"generation": 1, "loss": }\n', r"line 2 of .* is not JSON"),
        ("[0, 1]\n", "line 1 of .* is no object"),
        ('{"generation": 0, "loss": [1]}\n', r"`loss` is \[1\], not a number"),
        ('{"generation": 0, "loss": 1' + "0" * 400 + "}\n", "not a number"),
        ('{"generation": 0, "loss": 1}\n{"loss": 1}\n', "line 2 of .*: `generation` is None"),
        ('{"seed": 1, "generation": 0, "loss": 1}\n{"generation": 1, "loss": 1}\n', "line 2 of .*: `seed` is None"),
    ],
)  # fmt: skip
def test_what_a_jsonl_file_may_not_be(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_records(_csv(tmp_path, text, "mine.jsonl"))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_records(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"must be a \.csv or a \.jsonl file"):
        read_records(_csv(tmp_path, HEAD, "mine.xlsx"))


def test_what_moved_and_since_when(tmp_path):
    """Ten seeds fall by one a generation from generation 3 on, under noise that no sign test sees before."""
    noise = np.where(np.arange(10) % 2, 0.1, -0.1)[:, None] * np.array([0, 1, -1, 0, 1, 1])
    falling = noise - np.array([0, 0, 0, 1, 2, 3])
    (moved,) = movements(read_records(_csv(tmp_path, _rows(falling))))
    assert (moved.name, moved.moved, moved.since, moved.between) == ("loss", "fell", 3, (0, 5))
    assert (moved.fallen, moved.risen, moved.num_lost) == (10, 0, 0)
    reference = stats.ttest_1samp(falling[:, -1] - falling[:, 0], 0.0)
    assert moved.p == pytest.approx(reference.pvalue)
    np.testing.assert_allclose(moved.change[0], (falling[:, -1] - falling[:, 0]).mean())
    np.testing.assert_allclose(moved.change[1:], reference.confidence_interval(0.95))
    (rose,) = movements(read_records(_csv(tmp_path, _rows(-falling))))
    assert rose.moved == "rose" and rose.p == moved.p
    (still,) = movements(read_records(_csv(tmp_path, _rows(noise))))
    assert still.moved == "no evidence" and still.since is None and still.p == 1


@pytest.mark.parametrize("num_seeds", [1, 2, 3])
def test_one_seed_decides_nothing_and_equal_changes_as_much_as_their_last_decimal_lets_them(tmp_path, num_seeds):
    """Changes of -1 in steps of 0.1: t = 10 sqrt(seeds)."""
    values = np.array([2.0, 1.0]) + 0.1 * np.arange(num_seeds)[:, None]
    (moved,) = movements(read_records(_csv(tmp_path, _rows(values))))
    assert moved.moved == ("fell" if num_seeds > 1 else "too few seeds")
    assert np.isfinite(moved.last[1]) == (num_seeds > 1)
    if num_seeds > 1:
        assert moved.p == pytest.approx(2 * stats.t.sf(10 * num_seeds**0.5, num_seeds - 1))


def test_seeds_that_are_one_run_count_once(tmp_path):
    text = _rows(np.tile([2.0, 1.0], (6, 1)))
    (moved,) = movements(read_records(_csv(tmp_path, text)))
    assert moved.moved == "too few seeds" and moved.last[0] == 1 and np.isnan(moved.last[1:]).all()
    page = report_records(_csv(tmp_path, text)).read_text()
    assert "All 6 seeds hold the same numbers: are they the same run?" in page
    assert '<td class="num">1</td>' in page and "nan" not in page.split("<table>")[1].split("</table>")[0]


def test_metrics_that_only_vary_do_not_move():
    """Of 500 records of three metrics with one law per generation at most 5 % move, plus 4 standard errors of 1 %.

    Of 100 where they fall by two standard deviations in each generation, at least 90 % have.
    """
    rng, axes = np.random.default_rng(0), ("seed", "generation")
    shares = []
    for num, fall in ((500, 0.0), (100, 2.0)):
        draws = rng.normal(size=(num, 3, 12, 3)) - fall * np.arange(3)
        found = [
            movements(xr.Dataset({str(i): (axes, values) for i, values in enumerate(draw)}, {"generation": range(3)}))
            for draw in draws
        ]
        shares.append(np.mean([any(m.moved in ("fell", "rose") for m in of_one) for of_one in found]))
    assert shares[0] < 0.05 + 4 * 0.01 and shares[1] > 0.9


def test_many_metrics_are_one_family(tmp_path):
    """Many of forty metrics would be decided alone, few are among forty; the one whose seeds hardly differ is."""
    rng = np.random.default_rng(1)
    names, falls = [f"m{index}" for index in range(40)], rng.normal(3.0, 2.5, (40, 5))
    falls[7] = 3.0 + 0.01 * falls[7]
    lines = [f"{s},{g}," + ",".join(str(-g * fall) for fall in falls[:, s]) for s in range(5) for g in range(2)]
    found = movements(read_records(_csv(tmp_path, "\n".join(["seed,generation," + ",".join(names), *lines]))))
    alone = np.array([stats.ttest_1samp(-one, 0.0).pvalue for one in falls])
    assert np.sum(alone < 0.05) > 10  # each by itself
    assert [m.p for m in found] == pytest.approx(adjusted(list(alone)))
    assert found[7].moved == "fell" and sum(m.moved == "fell" for m in found) < 10
    assert all((m.change[2] < 0 or m.change[1] > 0) == (m.p < 0.05) for m in found)  # the row's interval decides


def test_p_values_are_adjusted_by_holms_steps_in_any_order():
    """The smallest times 4, the next times 3 ..., never below one before it and never above 1; Holm (1979)."""
    p = [0.04, 0.01, 0.9, 0.02]
    assert adjusted(p) == pytest.approx([0.08, 0.04, 0.9, 0.06])
    assert adjusted([0.03, 0.02]) == pytest.approx([0.04, 0.04])  # 0.03 alone would come before the 0.02 times 2
    assert adjusted([0.6, 0.7]) == [1.0, 1.0] and adjusted([]) == []


def test_diverged_seeds_are_counted_and_leave_the_others_alone(tmp_path):
    values = np.tile(np.array([3.0, 2.0, 1.0]), (9, 1))
    values[1, 2], values[4, 1:] = np.inf, np.nan
    text = _rows(values)
    (moved,) = movements(read_records(_csv(tmp_path, text)))
    assert moved.num_lost == 2 and moved.fallen == 7 and moved.moved == "fell"
    assert moved.last[0] == 1.0
    page = report_records(_csv(tmp_path, text)).read_text()
    assert "2 with a value missing or not finite" in page and "Some seeds lack finite values" in page


def test_a_metric_that_is_recorded_now_and_then_is_compared_where_it_is(tmp_path):
    values = np.full((6, 5), np.nan)
    values[:, 1], values[:, 3] = 1.0 + 0.1 * np.arange(6), 2.0 + 0.1 * np.arange(6)
    (moved,) = movements(read_records(_csv(tmp_path, _rows(values))))
    assert moved.between == (1, 3) and moved.moved == "rose" and moved.since == 3 and moved.num_lost == 0
    assert "Some seeds lack" not in report_records(_csv(tmp_path, _rows(values))).read_text()


def test_the_page_is_whole_and_escapes_what_it_shows(tmp_path):
    nasty = "<script>alert(1)</script>"
    lines = [
        json.dumps({"seed": s, "generation": g, nasty: s + g, "cost $^_{": float("nan")})
        for s in range(2)
        for g in range(3)
    ]
    path = _csv(tmp_path, "\n".join(lines), "a&b.jsonl")
    page = report_records(path, command=f"collapse-jax {nasty}")
    assert page == tmp_path / "a&b-report" / "report.html"
    text = page.read_text()
    assert "<script" not in text and text.count("&lt;script&gt;") == 3 and "a&amp;b.jsonl" in text
    assert text.count("data:image/png;base64,") == 1 and not re.search(r'(src|href)="http|url\(', text)
    assert {file.name for file in (page.parent / "figures").iterdir()} == {"records.png", "records.svg"}
    assert report_records(path) == page  # again, over the first


def test_folders_that_may_not_be_written_to(tmp_path):
    path = _csv(tmp_path, HEAD)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a run, whose report this would replace"):
        report_records(path, tmp_path / "run")
    with pytest.raises(ValueError, match="cannot be written"):
        report_records(path, path / "below")


def test_the_command_line_writes_the_page_and_says_where(tmp_path, capsys):
    path, out = _csv(tmp_path, HEAD), tmp_path / "out"
    assert run_command(["report", "--records", str(path)]) == 0
    assert str(tmp_path / "mine-report" / "report.html") in capsys.readouterr().out
    assert run_command(["report", str(out), "--records", str(path)]) == 0
    assert f"collapse-jax report {out} --records {path}" in (out / "report.html").read_text()
    assert run_command(["report", "--records", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run_command(["report"]) == 2
    assert "or --records FILE.csv" in capsys.readouterr().err

"""The picture on the README's first screen, drawn from a finished `make reproduce`.

    .venv/bin/python experiments/front_page.py runs/laptop

Question: what does model collapse look like? Answer: a mixture shrinks towards a point, digits towards
one blur. Takes a second; the run it reads takes two minutes.
"""

import sys
from pathlib import Path

from collapse_jax import plots, read_netcdf, two_gaussians


def main(run: Path, out: Path) -> None:
    gmm = read_netcdf(run / "gmm" / "trajectory.nc").sel(num_samples=1000)
    vae = read_netcdf(run / "vae" / "trajectory.nc").isel(num_samples=0)
    shown, digits = (0, 50, 100, 200, 350, 2000), (0, 1, 2, 5, 10, 20)
    figure, _ = plots.new_figure(1, 1, width=9.0, height=4.35)
    figure.clear()
    grid = figure.add_gridspec(2, len(shown), height_ratios=(1.0, 2.9))
    truth = two_gaussians()
    panels = [figure.add_subplot(grid[0, column]) for column in range(len(shown))]
    plots.mixture_snapshots(panels, gmm, shown, truth.means, truth.covariances, colour=plots.COLOURS[0])
    for panel in panels:
        panel.title.set_fontsize(9)
    images = vae["images"].sel(seed=0, generation=list(digits)).transpose("generation", "image", "pixel")
    plots.digit_rows(figure.add_subplot(grid[1, :]), images.values, digits)
    print(plots.save_figure(figure, out, "front_page"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "figures")

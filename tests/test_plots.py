"""Films of digits: each image at its place, one frame for each step, on disk as an animation and as a strip."""

import numpy as np
import pytest
from PIL import Image

from collapse_jax.plots import digit_film, save_film

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 9), np.uint8)  # 4 generations of 5 images of 3 x 3


def test_a_film_lays_images_out_row_by_row():
    film = digit_film(IMAGES, (0, 2, 4, 6), columns=3, side=3)
    assert film.frames.shape == (4, 6, 9) and film.labels[1] == "generation 2"
    for place in range(5):
        row, column = divmod(place, 3)
        tile = film.frames[1, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(tile, IMAGES[1, place].reshape(3, 3))
    assert not film.frames[:, 3:, 6:].any()  # the sixth place is empty


@pytest.mark.parametrize("still", [False, True])
def test_files_hold_every_frame(still, tmp_path):
    """Also of a film in which nothing moves: a model that has collapsed draws one image for ever."""
    images = np.repeat(IMAGES[:1], 4, axis=0) if still else IMAGES
    film = digit_film(images, range(4), columns=5, side=3)
    animation = Image.open(save_film(film, tmp_path / "figures", "digits", zoom=20))
    assert animation.n_frames == 4 and animation.info["duration"] == 500
    strip = np.asarray(Image.open(tmp_path / "figures" / "digits_frames.png").convert("L"))
    np.testing.assert_array_equal(strip.reshape(film.frames.shape), film.frames)

from mhkd.data.scanner import Scanner
from mhkd.errors import InputError

import numpy as np
import pytest

GREY = np.full((200, 200, 3), 128, np.uint8)


def test_everything_off_leaves_the_image_and_the_random_state_alone():
    np.random.seed(0)
    assert Scanner().scan(GREY, "a.png") is GREY and Scanner().scan_randomly(GREY) is GREY
    after = np.random.rand()
    np.random.seed(0)
    assert np.random.rand() == after


def test_blur_spreads_a_point_into_a_gaussian():
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 255
    blurred = Scanner(blur_px=1.0).scan(point, "a.png").astype(float)
    # Density of a two-dimensional Gaussian: 1 / (2 pi) at its centre, exp(-1/2) of it one pixel away.
    assert blurred[10, 10, 0] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert blurred[10, 11, 0] == pytest.approx(255 / (2 * np.pi) * np.exp(-0.5), abs=1)
    assert blurred[:, :, 0].sum() == pytest.approx(255, rel=0.05)


def test_noise_has_the_configured_deviation_and_never_wraps_around():
    noisy = Scanner(noise=10.0).scan(GREY, "a.png").astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.2)
    assert noisy.std() == pytest.approx(10, rel=0.02)
    white = Scanner(noise=10.0).scan(np.full_like(GREY, 255), "a.png")
    assert white.min() > 255 - 60 and (white == 255).mean() > 0.45


def test_jpeg_loses_detail_but_not_the_colour():
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 200
    assert np.abs(Scanner(jpeg_quality=90).scan(red, "a.png").astype(int) - red).max() <= 3
    texture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    lost = [np.abs(Scanner(jpeg_quality=q).scan(texture, "a").astype(int) - texture).mean() for q in (95, 10)]
    assert lost[0] < lost[1]


def test_evaluation_is_reproducible_in_any_folder():
    scanner = Scanner(noise=5.0)
    np.random.seed(0)
    first = scanner.scan(GREY, "/here/a.png")
    np.random.seed(1)
    assert np.array_equal(first, scanner.scan(GREY, "/there/a.png"))
    assert not np.array_equal(first, scanner.scan(GREY, "/here/b.png"))


def test_training_draws_strengths_up_to_the_configured_ones():
    scanner, small = Scanner(noise=20.0), GREY[:50, :50]
    np.random.seed(0)
    found = [scanner.scan_randomly(small).astype(float).std() for _ in range(200)]
    assert np.mean(found) == pytest.approx(10, abs=1)
    assert min(found) < 1 and 19 < max(found) < 20.5


@pytest.mark.parametrize("prob", [0.0, 0.25, 1.0])
def test_a_share_of_the_training_images_goes_through(prob):
    scanner, small = Scanner(noise=20.0, prob=prob), GREY[:20, :20]
    np.random.seed(0)
    assert np.mean([scanner.scan_randomly(small) is not small for _ in range(400)]) == pytest.approx(
        prob, abs=0.05
    )
    assert scanner.scan(small, "a.png").std() > 15  # evaluation is a test condition: always


@pytest.mark.parametrize(
    "setting, key",
    [
        ({"blur_px": -1.0}, "BLUR_PX -1.0"),
        ({"noise": 300.0}, "NOISE 300.0"),
        ({"jpeg_quality": 101}, "JPEG_QUALITY 101.*0 and 100"),
        ({"prob": 1.5}, "PROB 1.5.*0 and 1"),
        ({"noise": float("nan")}, "NOISE nan"),
    ],
)
def test_values_out_of_range(setting, key):
    with pytest.raises(InputError, match="INPUT.SCANNER." + key):
        Scanner(**setting)

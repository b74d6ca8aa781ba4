"""Cheap building blocks of the drawings: noise fields, cell mosaics and nuclei.

Lengths in micrometres become pixels through ``px_per_um``. Everything is float32 and depends on
nothing but the generator that is passed in.
"""

import cv2
import numpy as np

NOISE_SIZE_PX = 1024


def ramp(x: np.ndarray, width: float) -> np.ndarray:
    """A soft step: 0 below ``-width / 2``, 1 above ``width / 2``, linear between."""
    return np.clip(x * np.float32(1.0 / width) + np.float32(0.5), 0, 1)


def _filtered(rng: np.random.Generator, size: int, sigma_y: float, sigma_x: float) -> np.ndarray:
    """White noise after a Gaussian filter on a torus, scaled to mean 0, deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    fy = np.fft.fftfreq(size)[:, None] * sigma_y
    fx = np.fft.rfftfreq(size)[None, :] * sigma_x
    field = np.fft.irfft2(spectrum * np.exp(-2 * np.pi**2 * (fy**2 + fx**2)), s=(size, size))
    field -= field.mean()
    return (field / field.std()).astype(np.float32)


class NoiseBank:
    """Tileable noise fields of one slide: ``fine`` (granules), ``mid`` (irregular edges),
    ``fibre`` (streaks along x) and ``wavy`` (streaks that wander)."""

    def __init__(self, rng: np.random.Generator, px_per_um: float):
        s = px_per_um
        sigmas = {"fine": (0.9, 0.9), "mid": (4.0, 4.0), "fibre": (0.9, 9.0)}
        self.fields = {
            k: _filtered(rng, NOISE_SIZE_PX, max(a * s, 0.4), max(b * s, 0.4)) for k, (a, b) in sigmas.items()
        }
        y, x = np.indices((NOISE_SIZE_PX, NOISE_SIZE_PX), dtype=np.float32)
        dy, dx = (_filtered(rng, NOISE_SIZE_PX, 30 * s, 30 * s) * np.float32(28 * s) for _ in "yx")
        self.fields["wavy"] = self.sample("fibre", y + dy, x + dx)

    def crop(self, name: str, y: int, x: int, height: int, width: int) -> np.ndarray:
        """(height, width) of a field from (y, x) on, wrapping around."""
        rows = (np.arange(height) + y) % NOISE_SIZE_PX
        cols = (np.arange(width) + x) % NOISE_SIZE_PX
        return self.fields[name][rows].take(cols, axis=1)

    def random_crop(self, rng: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
        y, x = rng.integers(0, NOISE_SIZE_PX, 2)
        return self.crop(name, int(y), int(x), *shape)

    def sample(self, name: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The field at real-valued coordinates (two arrays of one shape)."""
        return cv2.remap(
            self.fields[name],
            np.mod(x, NOISE_SIZE_PX - 1).astype(np.float32),
            np.mod(y, NOISE_SIZE_PX - 1).astype(np.float32),
            cv2.INTER_LINEAR,
        )


def smooth_field(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """(size, size) smooth noise with about ``cells`` bumps a side, mean 0, deviation about 1."""
    coarse = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    field = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def jittered_points(rng: np.random.Generator, height: int, width: int, pitch_px: float) -> np.ndarray:
    """(N, 2) integer (y, x), one random point in each cell of a grid of the given pitch."""
    ys = np.arange(0, height, pitch_px, dtype=np.float32)
    xs = np.arange(0, width, pitch_px, dtype=np.float32)
    grid = np.stack(np.meshgrid(ys, xs, indexing="ij"), -1).reshape(-1, 2)
    points = grid + rng.random(grid.shape, dtype=np.float32) * pitch_px
    return np.minimum(points.astype(np.int32), (height - 1, width - 1))


def label_edges_distance(labels: np.ndarray) -> np.ndarray:
    """Distance in pixels of every pixel to the nearest border between two labels."""
    inside = np.full(labels.shape, 255, np.uint8)
    inside[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
    inside[1:][labels[1:] != labels[:-1]] = 0
    return cv2.distanceTransform(inside, cv2.DIST_L2, 3)


def cell_mosaic(
    rng: np.random.Generator, shape: tuple[int, int], pitch_px: float, warp_y: np.ndarray, warp_x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Irregular cells: (labels, distance to the cell border in pixels), each of ``shape``.

    ``warp_y`` and ``warp_x`` (pixels) bend the otherwise straight borders.
    """
    seeds = np.full(shape, 255, np.uint8)
    points = jittered_points(rng, *shape, pitch_px)
    seeds[points[:, 0], points[:, 1]] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    y, x = np.indices(shape, dtype=np.float32)
    y = np.clip(y + warp_y, 0, shape[0] - 1).astype(np.int32)
    x = np.clip(x + warp_x, 0, shape[1] - 1).astype(np.int32)
    labels = labels[y, x]
    return labels, label_edges_distance(labels)


def nucleus_stamps(
    rng: np.random.Generator, length_um: float, width_um: float, px_per_um: float, count: int = 8
) -> np.ndarray:
    """(count, K, K) soft ellipses in [0, 1] at random angles, K odd, with a mottled inside."""
    half = max(1, int(np.ceil(length_um * px_per_um * 0.62)))
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    stamps = []
    for angle in rng.uniform(0, np.pi, count):
        a, b = (v * px_per_um / 2 * rng.uniform(0.85, 1.2) for v in (length_um, width_um))
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle)
        radius = np.sqrt((u / a) ** 2 + (v / b) ** 2)
        body = ramp(1 - radius, 0.5)
        mottle = 1 + 0.15 * rng.standard_normal(y.shape)
        stamps.append(np.clip(body * (0.8 + 0.2 * radius) * mottle, 0, 1))
    return np.asarray(stamps, np.float32)


def stamp_max(canvas: np.ndarray, points: np.ndarray, stamps: np.ndarray, rng: np.random.Generator) -> None:
    """Press random stamps on ``canvas`` (float32 H, W; in place) at each (y, x), keeping maxima."""
    half = stamps.shape[1] // 2
    low, high = half, (canvas.shape[0] - half - 1, canvas.shape[1] - half - 1)
    points = points[((points >= low) & (points <= high)).all(axis=1)]
    which = rng.integers(0, len(stamps), len(points))
    gain = rng.uniform(0.65, 1.1, len(points)).astype(np.float32)
    flat = canvas.reshape(-1)
    index = points[:, 0].astype(np.int64) * canvas.shape[1] + points[:, 1]
    # One pass per stamp pixel: within a pass all targets differ unless two points coincide.
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            value = stamps[which, dy + half, dx + half] * gain
            use = value > 0.05
            target = index[use] + (dy * canvas.shape[1] + dx)
            flat[target] = np.maximum(flat[target], value[use])

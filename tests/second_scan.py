"""A slide as a second scanner gives it: shifted, turned, stretched, in other colours, at low resolution."""

import cv2
import numpy as np
import pyvips

# Optical densities of red, green and blue, mixed: another scanner, and as good as another stain.
RECOLOURED = np.array([[0.75, 0.2, 0.1], [0.15, 0.7, 0.25], [0.05, 0.1, 0.9]])
OTHER_STAIN = np.array([[0.1, 0.3, 0.8], [0.8, 0.2, 0.0], [0.2, 0.7, 0.2]])


def lay(size_px, factor, shift=(0.0, 0.0), turn=0.0, stretch=1.0, mirrored=False, lr_size_px=None):
    """LR pixels to HR pixels about the slide's middle, shape (2, 3), and the size of the LR slide."""
    size = np.array(lr_size_px or [int(n / factor) for n in size_px], float)
    angle = np.deg2rad(turn)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = linear @ np.diag(np.broadcast_to(factor * np.asarray(stretch, float), 2))
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.array(size_px) / 2 + np.array(shift) * size_px
    offset = middle - linear @ (size / 2)
    return np.hstack([linear, offset[:, None]]), (int(size[0]), int(size[1]))


def second_scan(
    hr, affine, size, factor, mixed=None, gamma=1.0, blur_px=0.0, noise=0.0, white=244, seed=0, bend=None
):
    """Pixels of the LR slide; (h, w, 3) uint8 in and out. ``bend`` moves LR places before the affine map."""
    x = (np.arange(size[0] * factor) + 0.5) / factor
    y = (np.arange(size[1] * factor) + 0.5) / factor
    points = np.stack(np.meshgrid(x, y), -1)
    if bend is not None:
        points = points + bend(points)
    where = (points @ affine[:, :2].T + affine[:, 2] - 0.5).astype(np.float32)
    fine = cv2.remap(hr, where, None, cv2.INTER_CUBIC, borderValue=(white,) * 3).astype(np.float32)
    image = fine.reshape(size[1], factor, size[0], factor, 3).mean((1, 3))
    if blur_px:
        image = cv2.GaussianBlur(image, (0, 0), blur_px)
    if mixed is not None:
        density = -(np.log(np.clip(image, 1, 245) / 245))
        image = 245 * np.exp(-(density @ np.asarray(mixed).T) * gamma)
    image = image + noise * np.random.default_rng(seed).standard_normal(image.shape)
    return image.clip(0, 255).astype(np.uint8)


def write_scan(path, rgb, mpp, quality=90):
    image = pyvips.Image.new_from_array(np.ascontiguousarray(rgb)).copy(interpretation="srgb")
    if mpp:
        image = image.copy(xres=1000 / mpp, yres=1000 / mpp)
    image.tiffsave(str(path), tile=True, pyramid=True, compression="jpeg", Q=quality, resunit="cm")
    return path

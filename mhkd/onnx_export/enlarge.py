"""The door's enlargement, :func:`mhkd.enlarge.upsample`, in tensors: for a graph, which has no PIL."""

import torch

BITS = 22  # PIL's weights of an 8-bit resize are whole numbers of 2⁻²²
ONE, HALF = 1 << BITS, 1 << (BITS - 1)


def enlarge(image: torch.Tensor, factor: int) -> torch.Tensor:
    """(3, h, w) uint8 to (3, h * factor, w * factor) int32, equal to PIL's bilinear resize in every value.

    As there, rows are enlarged first and rounded to 8 bits, then columns. At the border the outermost pixel
    is its own neighbour.
    """
    x = image.to(torch.int32)
    if factor == 1:
        return x
    return _enlarge_last(_enlarge_last(x, factor).transpose(1, 2), factor).transpose(1, 2)


def _enlarge_last(x: torch.Tensor, factor: int) -> torch.Tensor:
    """(3, n, m) to (3, n, m * factor)."""
    padded = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
    # New pixel k of the factor that replace one lies (k + 1/2) / factor - 1/2 pixels right of its middle.
    shifts = [(k + 0.5) / factor - 0.5 for k in range(factor)]
    pieces = []
    for shift in shifts:
        left, right = (padded[:, :, :-2], x) if shift < 0 else (x, padded[:, :, 2:])
        weight = round((shift % 1) * ONE)  # of the right one
        pieces.append((left * ONE + (right - left) * weight + HALF) >> BITS)
    return torch.stack(pieces, dim=3).flatten(2)

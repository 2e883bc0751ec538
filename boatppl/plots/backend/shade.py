"""What colours of a map or of lines mean: a colour map, a scale and its ticks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import Colormap, to_hex


@dataclass(frozen=True, eq=False)
class Shade:
    """Colours of values, by Matplotlib's map and ``norm``; ``label`` and ``ticks`` (value, text) stand on the
    colour bar."""

    colours: Colormap
    norm: Any
    label: str
    ticks: Sequence[tuple[float, str]]

    def share(self, values: np.ndarray) -> np.ndarray:
        """Return where values stand between the ends of the bar, 0 to 1; NaN where there is no value."""
        found = np.ma.masked_invalid(self.norm(np.ma.masked_invalid(values)))
        return np.asarray(np.ma.filled(found.astype(float), np.nan))

    def hexes(self, shares: np.ndarray) -> list[str]:
        """Return the colours at shares ``(place,)`` of the bar."""
        return [to_hex(colour) for colour in self.colours(shares)]

    @property
    def marks(self) -> list[tuple[float, str]]:
        """The ticks, at shares of the bar; those beyond its ends left out."""
        shares = self.share(np.array([value for value, _ in self.ticks], float))
        inside = zip(shares, (text for _, text in self.ticks), strict=True)
        return [(float(share), text) for share, text in inside if -1e-9 <= share <= 1 + 1e-9]

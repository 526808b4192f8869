"""Labels above a picture that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spread_labels(
    positions: Sequence[float], distance: float, left: float, right: float
) -> list[float]:
    """Places for labels near given positions, at least `distance` apart.

    Parameters
    ----------
    positions : sequence of float
        Increasing.
    distance : float
        Smallest distance between two labels.
    left, right : float
        Labels stay between these, if there is room.

    Returns
    -------
    list of float
        Groups of labels that are too close are spread evenly about their mean.
    """
    groups: list[tuple[float, int]] = []
    for position in positions:
        groups.append((position, 1))
        while len(groups) > 1:
            (before, n), (last, m) = groups[-2], groups[-1]
            if last - before >= 0.5 * (n + m) * distance:
                break
            groups[-2:] = [_inside((before * n + last * m) / (n + m), n + m, distance, left, right)]
    places = []
    for centre, n in groups:
        middle, _ = _inside(centre, n, distance, left, right)
        places += [middle + (i - 0.5 * (n - 1)) * distance for i in range(n)]
    return places


def _inside(centre: float, n: int, distance: float, left: float, right: float) -> tuple[float, int]:
    half = 0.5 * n * distance
    return min(max(centre, left + half), max(right - half, left + half)), n


def draw_labels(
    ax: Axes,
    labels: Sequence[tuple[str, float]],
    *,
    distance: float,
    foot: float,
    head: float,
    color: str,
    **text: Any,
) -> None:
    """Write names above their positions, each with a thin line down to its place.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    labels : sequence of (str, float)
        Names and x, increasing in x.
    distance : float
        Smallest distance between two names, as a part of the width of the axes.
    foot, head : float
        Heights of the place and of the name, as parts of the height of the axes.
    color : str
    **text
        Of the names, such as rotation and fontsize.
    """
    left, right = ax.get_xlim()
    places = spread_labels([x for _, x in labels], distance * (right - left), left, right)
    for (name, x), place in zip(labels, places, strict=True):
        ax.annotate(
            name,
            xy=(x, foot),
            xytext=(place, head),
            xycoords=("data", "axes fraction"),
            textcoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            color=color,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkA": 1.0,
                "shrinkB": 0.0,
            },
            annotation_clip=False,
            **text,
        )

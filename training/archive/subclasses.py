"""The classes of the survey networks, and how they contain the published thirteen."""

from __future__ import annotations

GALAXY = ("passive", "STARFORMING", "STARBURST", "AGN", "BROADLINE")
QSO = ("plain", "BROADLINE", "BAL")
STAR = ("A0", "F5", "F9", "G2", "K1", "K3", "K5", "M", "WD", "CV")
FAMILIES = {"GALAXY": GALAXY, "QSO": QSO, "STAR": STAR}
NO_SIGNAL = "NO_SIGNAL"
# "STAR A0" stands for all hot stars, O to A; the others for the types around them.
SUBCLASSES = (
    *(f"{family} {name}" for family, names in FAMILIES.items() for name in names),
    NO_SIGNAL,
)
# Those of GaSNet-II (Zhong et al. 2023, arXiv:2311.04146), by ours. BAL quasars, M stars,
# white dwarfs, cataclysmic variables, broad-line galaxies and NO_SIGNAL have none.
PUBLISHED = {
    "GALAXY passive": "GALAXY",
    "GALAXY STARFORMING": "GALAXY STARFORMING",
    "GALAXY STARBURST": "GALAXY STARBURST",
    "GALAXY AGN": "GALAXY AGN",
    "QSO plain": "QSO",
    "QSO BROADLINE": "QSO BROADLINE",
    **{f"STAR {name}": f"STAR {name}" for name in STAR[:7]},
}

# F, G and K types in one row, ten a letter, and the subclass below each place.
_LADDER = ((8, "F5"), (11, "F9"), (20, "G2"), (23, "K1"), (25, "K3"), (30, "K5"))


def star_subclass(spectral_type: str) -> str | None:
    """The subclass of a spectral type such as "K3V (32147)" or "WDhotter".

    Returns
    -------
    str or None
        None for what has no subclass (subdwarfs, L dwarfs, and carbon stars: only one is at
        hand).
    """
    name = spectral_type.strip()
    if name.startswith(("WD", "CalciumWD")):
        return "WD"
    if name.startswith("CV"):
        return "CV"
    if name.startswith("Am"):
        return "A0"
    letter = name[:1]
    if not letter or letter not in "OBAFGKM" or name.startswith("Carbon"):
        return None
    if letter in "OBA":
        return "A0"
    if letter == "M":
        return "M"
    digit = int(name[1]) if name[1:2].isdigit() else 5
    place = 10 * "FGK".index(letter) + digit
    return next(subclass for limit, subclass in _LADDER if place < limit)

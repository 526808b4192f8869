"""Rest wavelengths of the lines that are marked in pictures, by kind of object.

Vacuum Angstrom. Nebular and stellar lines: NIST Atomic Spectra Database (Kramida et
al., https://physics.nist.gov/asd) and, for broad UV lines of active galaxies, the
composite of Vanden Berk et al. 2001, AJ 122, 549, table 2. Supernova features carry
the names they have in Filippenko 1997, ARA&A 35, 309 (the wavelengths in those names
are in air); multiplets such as S II W stand at the mean of their components. Lines in
air in those sources were converted with `specinfer.wavelengths.air_to_vacuum`.
"""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """A line: its name and its rest wavelength in vacuum Angstrom."""

    name: str
    wavelength: float


_BALMER = (
    Line("Hδ", 4102.89),
    Line("Hγ", 4341.68),
    Line("Hβ", 4862.68),
    Line("Hα", 6564.61),
)
_HELIUM = (Line("He I 5876", 5877.25), Line("He I 6678", 6679.99), Line("He I 7065", 7067.14))
_CALCIUM = (Line("Ca II H&K", 3952.9), Line("Ca II NIR", 8581.0))
_OXYGEN = (Line("O I 7774", 7776.0),)
_IRON = (
    Line("Fe II 4924", 4925.3),
    Line("Fe II 5018", 5019.8),
    Line("Fe II 5169", 5170.5),
)
_FORBIDDEN = (
    Line("[O II]", 3728.5),
    Line("[O III] 4959", 4960.30),
    Line("[O III] 5007", 5008.24),
    Line("[N II]", 6585.27),
    Line("[S II]", 6725.5),
)
_STELLAR = (
    Line("Ca K", 3934.78),
    Line("Ca H", 3969.59),
    Line("G band", 4305.6),
    Line("Mg b", 5176.6),
    Line("Na D", 5894.6),
)
_QUASAR = (
    Line("Lyα", 1215.67),
    Line("C IV", 1549.06),
    Line("C III]", 1908.73),
    Line("Mg II", 2798.75),
)

SN_IA = (
    Line("S II W", 5537.0),
    Line("Si II 5972", 5973.8),
    Line("Si II 6355", 6356.8),
    *_OXYGEN,
    *_CALCIUM,
)
SN_II = (*_BALMER, Line("He I 5876", 5877.25), Line("Fe II 5169", 5170.5), *_CALCIUM)
SN_IB = (*_HELIUM, *_IRON, *_OXYGEN, *_CALCIUM)
SN_IC = (Line("Na D", 5894.6), Line("Si II 6355", 6356.8), *_IRON, *_OXYGEN, *_CALCIUM)
SN_IIB = (*_BALMER, *_HELIUM, *_CALCIUM)
SLSN = (
    Line("O II 4358", 4359.0),
    Line("O II 4651", 4652.0),
    Line("Mg II", 2798.75),
    *_IRON,
    *_OXYGEN,
    Line("Ca II H&K", 3952.9),
)
TDE = (*_BALMER, Line("He II 4686", 4687.02), Line("N III 4640", 4641.9), *_HELIUM[:1])
CV = (*_BALMER, Line("He II 4686", 4687.02), *_HELIUM)
GALAXY = (*_FORBIDDEN, Line("Hβ", 4862.68), Line("Hα", 6564.61), *_STELLAR)
AGN = (*_QUASAR, *_BALMER, *_FORBIDDEN[:3])
STAR = (*_BALMER, *_STELLAR, *_CALCIUM[1:])

# By the class names of the model cards, in lower case; the longest matching start wins.
_BY_CLASS = {
    "sn ia": SN_IA,
    "sn ib": SN_IB,
    "sn ibn": SN_IB,
    "sn ic": SN_IC,
    "sn iib": SN_IIB,
    "sn ii": SN_II,
    "sn iin": SN_II,
    "slsn": SLSN,
    "tde": TDE,
    "agn": AGN,
    "qso": AGN,
    "cv": CV,
    "galaxy": GALAXY,
    "star": STAR,
}


def lines_of(class_name: str) -> tuple[Line, ...]:
    """The main lines of a class.

    Parameters
    ----------
    class_name : str
        As in a model card, such as "SN Ia" or "galaxy".

    Returns
    -------
    tuple of Line
        By wavelength; hydrogen and calcium for a class that is not known.
    """
    key = class_name.strip().lower()
    starts = [name for name in _BY_CLASS if key.startswith(name)]
    table = _BY_CLASS[max(starts, key=len)] if starts else (*_BALMER, *_CALCIUM)
    return tuple(sorted(table, key=lambda line: line.wavelength))

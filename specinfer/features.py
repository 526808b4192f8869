"""Classical features of each class: where in the rest frame they are to be looked for.

Unlike `specinfer.lines`, which marks rest wavelengths, this knows that the absorption
of an expanding atmosphere is shifted to the blue, and by how much. Rest wavelengths
are vacuum Angstrom (from `specinfer.lines`, or converted from the air wavelengths of the
NIST Atomic Spectra Database, https://physics.nist.gov/asd; multiplets at their mean).
Which features make a class follows Filippenko 1997, ARA&A 35, 309, and Gal-Yam 2017,
arXiv:1611.09353. The ranges of velocity are generous envelopes of those measured by
Silverman et al. 2012, MNRAS 425, 1819 (Ia), Liu et al. 2016, ApJ 827, 90 (Ib, Ic, IIb),
Modjaz et al. 2016, ApJ 832, 108 (Ic-BL), Gutierrez et al. 2017, ApJ 850, 89 (II),
Pastorello et al. 2008, MNRAS 389, 113 (Ibn), Quimby et al. 2018, ApJ 855, 2 (SLSN-I) and
Arcavi et al. 2014, ApJ 793, 38 (TDE).
"""

from __future__ import annotations

from typing import NamedTuple

_C_KM_S = 299792.458
# From this many rest-frame days after maximum on, forbidden lines may be named.
NEBULAR_PHASE = 60.0


class Feature(NamedTuple):
    """A feature and the rest-frame range (vacuum Angstrom) in which it is found.

    `nebular` ones appear only long after maximum.
    """

    name: str
    low: float
    high: float
    nebular: bool = False

    @property
    def centre(self) -> float:
        """Middle of the range."""
        return 0.5 * (self.low + self.high)


def absorption(
    name: str, wavelength: float, slow: float, fast: float, last: float | None = None
) -> Feature:
    """A trough that is blueshifted by `slow` to `fast` km/s; `last` is the reddest component."""
    return Feature(
        name, wavelength * (1.0 - fast / _C_KM_S), (last or wavelength) * (1.0 - slow / _C_KM_S)
    )


def emission(
    name: str, wavelength: float, width: float, last: float | None = None, nebular: bool = False
) -> Feature:
    """A line that reaches `width` km/s to either side; `last` is the reddest component."""
    part = width / _C_KM_S
    return Feature(name, wavelength * (1.0 - part), (last or wavelength) * (1.0 + part), nebular)


def p_cygni(name: str, wavelength: float, fast: float, width: float) -> Feature:
    """An emission line that reaches `width` km/s to the red, with a trough out to `fast`."""
    return Feature(name, wavelength * (1.0 - fast / _C_KM_S), wavelength * (1.0 + width / _C_KM_S))


_H = {"Hδ": 4102.89, "Hγ": 4341.68, "Hβ": 4862.68, "Hα": 6564.61}
_HE_I = {"He I 5876": 5877.25, "He I 6678": 6679.99, "He I 7065": 7067.14}
_NEBULAR_SN = (
    emission("[O I] 6300, 6364", 6302.05, 3500.0, last=6365.54, nebular=True),
    emission("[Ca II] 7291, 7324", 7293.48, 3500.0, last=7325.91, nebular=True),
)


def _calcium(slow: float, fast: float) -> tuple[Feature, ...]:
    return (
        absorption("Ca II H&K", 3934.78, slow, fast, last=3969.59),
        absorption("Ca II NIR", 8500.36, slow, fast, last=8664.52),
    )


def _helium(slow: float, fast: float) -> tuple[Feature, ...]:
    return tuple(absorption(name, rest, slow, fast) for name, rest in _HE_I.items())


_SN_IA = (
    absorption("Si II 4130", 4130.6, 6000.0, 16000.0),
    absorption("Mg II 4481", 4482.5, 8000.0, 18000.0),
    absorption("Fe II 5169", 5170.5, 7000.0, 17000.0),
    absorption("S II W", 5455.3, 6000.0, 14000.0, last=5641.6),
    absorption("Si II 5972", 5973.8, 7000.0, 15000.0),
    absorption("Si II 6355", 6356.8, 7000.0, 17000.0),
    absorption("O I 7774", 7776.0, 7000.0, 18000.0),
    *_calcium(8000.0, 26000.0),
    emission("[Fe III] 4701", 4702.9, 7000.0, nebular=True),
    emission("[Co III] 5890", 5890.1, 5000.0, nebular=True),
)
_SN_IB = (
    *_helium(4000.0, 15000.0),
    absorption("Fe II 5169", 5170.5, 4000.0, 15000.0),
    absorption("O I 7774", 7776.0, 4000.0, 14000.0),
    *_calcium(4000.0, 18000.0),
    *_NEBULAR_SN,
)
_SN_IC = (
    absorption("Fe II 5169", 5170.5, 5000.0, 17000.0),
    absorption("Na I D", 5891.58, 4000.0, 15000.0, last=5897.56),
    absorption("Si II 6355", 6356.8, 4000.0, 14000.0),
    absorption("O I 7774", 7776.0, 5000.0, 16000.0),
    *_calcium(5000.0, 20000.0),
    *_NEBULAR_SN,
)
_SN_IC_BL = (
    absorption("Fe II 5169", 5170.5, 10000.0, 32000.0),
    absorption("Si II 6355", 6356.8, 8000.0, 30000.0),
    absorption("O I 7774", 7776.0, 8000.0, 30000.0),
    *_calcium(10000.0, 32000.0),
    *_NEBULAR_SN,
)
_SN_II = (
    p_cygni("Hα P Cygni", _H["Hα"], 15000.0, 6000.0),
    p_cygni("Hβ P Cygni", _H["Hβ"], 13000.0, 4000.0),
    absorption("Hγ", _H["Hγ"], 2500.0, 13000.0),
    absorption("He I 5876", 5877.25, 2000.0, 13000.0),
    absorption("Fe II 5169", 5170.5, 2000.0, 9000.0),
    absorption("O I 7774", 7776.0, 2000.0, 9000.0),
    *_calcium(2000.0, 14000.0),
    *_NEBULAR_SN,
)
_SN_IIB = (
    p_cygni("Hα P Cygni", _H["Hα"], 18000.0, 5000.0),
    absorption("Hβ", _H["Hβ"], 5000.0, 17000.0),
    *_helium(4000.0, 14000.0),
    absorption("Fe II 5169", 5170.5, 4000.0, 13000.0),
    *_calcium(4000.0, 18000.0),
    *_NEBULAR_SN,
)
_SN_IIN = (
    *(emission(f"narrow {name}", rest, 2500.0) for name, rest in _H.items()),
    emission("He I 5876", 5877.25, 2500.0),
    emission("Ca II NIR", 8500.36, 3000.0, last=8664.52),
)
_SN_IBN = (
    emission("narrow He I 5016", 5017.08, 3000.0),
    *(emission(f"narrow {name}", rest, 3000.0) for name, rest in _HE_I.items()),
    emission("narrow He I 4471", 4472.76, 3000.0),
    emission("Ca II NIR", 8500.36, 4000.0, last=8664.52),
)
_SLSN = (
    absorption("Mg II 2800", 2798.75, 6000.0, 25000.0),
    absorption("O II 4350", 4359.0, 7000.0, 22000.0),
    absorption("O II 4650", 4652.0, 7000.0, 22000.0),
    absorption("Fe II 5169", 5170.5, 6000.0, 20000.0),
    absorption("Si II 6355", 6356.8, 6000.0, 18000.0),
    absorption("C II 6580", 6581.5, 6000.0, 18000.0),
    absorption("C II 7234", 7236.4, 6000.0, 18000.0),
    absorption("O I 7774", 7776.0, 6000.0, 18000.0),
    *_calcium(6000.0, 20000.0),
    *_NEBULAR_SN,
)
_TDE = (
    emission("broad Hα", _H["Hα"], 13000.0),
    emission("broad Hβ", _H["Hβ"], 8000.0),
    emission("broad Hγ", _H["Hγ"], 7000.0),
    emission("N III 4100, Hδ", 4100.2, 7000.0),
    emission("N III 4640 (Bowen)", 4641.9, 5000.0),
    emission("He II 4686", 4687.02, 9000.0),
    emission("broad He I 5876", 5877.25, 9000.0),
)
_AGN = (
    emission("Lyα", 1215.67, 6000.0),
    emission("C IV", 1549.06, 6000.0),
    emission("C III]", 1908.73, 6000.0),
    emission("Mg II", 2798.75, 6000.0),
    emission("[O II]", 3728.5, 1500.0),
    *(emission(name, rest, 5000.0) for name, rest in _H.items() if name != "Hδ"),
    emission("[O III] 4959, 5007", 4960.30, 1500.0, last=5008.24),
)
_CV = (
    *(emission(name, rest, 2000.0) for name, rest in _H.items()),
    *(emission(name, rest, 2000.0) for name, rest in _HE_I.items()),
    emission("He I 4471", 4472.76, 2000.0),
    emission("N III 4640 (Bowen)", 4641.9, 1500.0),
    emission("He II 4686", 4687.02, 1500.0),
)
_STELLAR = (
    emission("Ca H&K", 3934.78, 1500.0, last=3969.59),
    emission("G band", 4305.6, 1500.0),
    emission("Mg b", 5176.6, 1500.0),
    emission("Na D", 5891.58, 1500.0, last=5897.56),
)
_GALAXY = (
    emission("[O II]", 3728.5, 1500.0),
    emission("Hβ", _H["Hβ"], 1500.0),
    emission("[O III] 4959, 5007", 4960.30, 1500.0, last=5008.24),
    emission("Hα, [N II]", _H["Hα"], 1500.0, last=6585.27),
    emission("[S II]", 6718.29, 1500.0, last=6732.67),
    *_STELLAR,
)
_STAR = (
    *(emission(name, rest, 1500.0) for name, rest in _H.items()),
    *_STELLAR,
    emission("TiO 7053", 7055.0, 2500.0),
    emission("Ca II NIR", 8500.36, 1500.0, last=8664.52),
)

# By the class names of the model cards, in lower case; the longest matching start wins.
_BY_CLASS = {
    "sn ia": _SN_IA,
    "sn ib": _SN_IB,
    "sn ibn": _SN_IBN,
    "sn ic": _SN_IC,
    "sn ic-bl": _SN_IC_BL,
    "sn ii": _SN_II,
    "sn iib": _SN_IIB,
    "sn iin": _SN_IIN,
    "slsn": _SLSN,
    "tde": _TDE,
    "agn": _AGN,
    "qso": _AGN,
    "cv": _CV,
    "galaxy": _GALAXY,
    "star": _STAR,
}


def features_of(class_name: str, phase: float | None = None) -> tuple[Feature, ...]:
    """The classical features of a class.

    Parameters
    ----------
    class_name : str
        As in a model card, such as "SN Ia" or "galaxy".
    phase : float, optional
        Rest-frame days from maximum light; nebular lines are given only where it is
        known and at least `NEBULAR_PHASE`.

    Returns
    -------
    tuple of Feature
        By wavelength; empty for a class that is not known.
    """
    key = class_name.strip().lower()
    starts = [name for name in _BY_CLASS if key.startswith(name)]
    if not starts:
        return ()
    late = phase is not None and phase >= NEBULAR_PHASE
    found = [f for f in _BY_CLASS[max(starts, key=len)] if late or not f.nebular]
    return tuple(sorted(found, key=lambda feature: feature.centre))

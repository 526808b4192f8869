"""The survey simulator and what it draws from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the libraries are built with pyarrow, of the extra 'train'")

from specinfer.zgrid import STEP
from training.archive.emission import line_ratios, with_lines
from training.archive.rest import RANGES, RestLibrary, Rows
from training.archive.sdss import SPLIT, SdssSpectrum, make_sdss_split
from training.archive.split import PARTS, read_split
from training.archive.subclasses import (
    FAMILIES,
    NO_SIGNAL,
    PUBLISHED,
    SUBCLASSES,
    star_subclass,
)
from training.simulate.axis import COUNT, WAVELENGTH
from training.simulate.donors import Donors
from training.simulate.survey import SurveyConditions, SurveySimulator, shift_rows

# A line that a galaxy, a quasar and a star have, each its own.
LINES = {"GALAXY": 5008.24, "QSO": 2798.75, "STAR": 5176.6}
N_ROWS = 40
QUIET = SurveyConditions(
    natural_share=0.0, snr=(10.0, 10.0), no_signal_share=0.0, cut_share=0.0, ripple=0.0,
    reddening=0.0, sky=0.0, telluric=0.0, spikes=0.0, error_scale=0.0,
)  # fmt: skip


def tiny_rest(family: str) -> RestLibrary:
    """Rows with one line each on a flat continuum, ten a subclass."""
    rows = Rows(family)
    wavelength = np.linspace(*RANGES[family], 60_000)
    line = 1.0 + 4.0 * np.exp(-0.5 * ((wavelength / LINES[family] - 1.0) / 5e-4) ** 2)
    flux = rows.rebin(wavelength, line)
    for index in range(N_ROWS):
        subclass = FAMILIES[family][index % len(FAMILIES[family])]
        redshift = np.nan if family == "STAR" else 0.1 + 0.02 * index
        rows.add(flux, subclass, f"{family}-{index}", redshift, 5.0)
    return rows.library()


def tiny_donors() -> Donors:
    """Noise that rises to the blue, with one bright sky line."""
    sigma = 1.0 + 2.0 * np.exp(-(WAVELENGTH - 3600.0) / 300.0)
    sigma = sigma + 6.0 * np.exp(-0.5 * ((WAVELENGTH - 5579.0) / 3.0) ** 2)
    spectra = [
        SdssSpectrum(f"d{i}", "STAR", "", 0.0, 5.0, 0, WAVELENGTH, WAVELENGTH, 1.0 / sigma**2)
        for i in range(3)
    ]
    return Donors(spectra)


@pytest.fixture(scope="module")
def libraries() -> dict[str, RestLibrary]:
    return {name: tiny_rest(name) for name in FAMILIES}


@pytest.fixture(scope="module")
def donors() -> Donors:
    return tiny_donors()


def simulator(
    libraries: dict[str, RestLibrary], donors: Donors, **changes: object
) -> SurveySimulator:
    values = {**QUIET.__dict__, **changes}
    return SurveySimulator(libraries, donors, "train", SurveyConditions(**values))  # type: ignore[arg-type]


def test_our_classes_contain_the_published_thirteen() -> None:
    assert len(PUBLISHED) == 13
    assert len(set(PUBLISHED.values())) == 13
    assert set(PUBLISHED) <= set(SUBCLASSES)
    assert SUBCLASSES[-1] == NO_SIGNAL


@pytest.mark.parametrize(
    ("spectral_type", "subclass"),
    [
        ("B0.5Iae (185859)", "A0"), ("Am (78362)", "A0"), ("F5Ib... (17463)", "F5"),
        ("F9IV (136064)", "F9"), ("G0Va (143761)", "F9"), ("G8V (75732)", "G2"),
        ("K1V... (25329)", "K1"), ("K3p (165195)", "K3"), ("K5 (110281)", "K5"),
        ("M4.5:III (123657)", "M"), ("WDhotter", "WD"), ("CalciumWD", "WD"), ("CV", "CV"),
        ("sdF3 (140283)", None), ("Ldwarf", None), ("Carbon", None),
    ],
)  # fmt: skip
def test_spectral_types(spectral_type: str, subclass: str | None) -> None:
    assert star_subclass(spectral_type) == subclass


def spectra_of(objects: list[tuple[str, str, int]]) -> list[SdssSpectrum]:
    empty = np.zeros(0)
    return [
        SdssSpectrum(name, family, "", 0.1, 5.0, warning, empty, empty, empty)
        for name, family, warning in objects
    ]


def test_visits_of_an_object_stay_together() -> None:
    objects = [(f"g{i // 2}", "GALAXY", 0) for i in range(40)]
    objects += [(f"s{i}", "STAR", 4 if i < 3 else 0) for i in range(12)]
    split = make_sdss_split(spectra_of(objects), 1, frozenset({"g0", "g1"}))
    names = [n for part in PARTS for family in split["parts"][part].values() for n in family]
    assert sorted(names) == sorted({name for name, _, _ in objects})
    assert {"g0", "g1"} <= set(split["parts"]["validation"]["GALAXY"])
    assert split["parts"]["train"]["zwarning"] == ["s0", "s1", "s2"]
    assert [len(split["parts"][part]["GALAXY"]) for part in PARTS] == [5, 5, 10]


def test_the_stored_split_is_as_it_was_made() -> None:
    parts = read_split(SPLIT)["parts"]
    assert {part: len(parts[part]["QSO"]) for part in PARTS} == {
        "train": 30, "validation": 30, "test": 62
    }  # fmt: skip


@pytest.mark.parametrize(("family", "redshift"), [("GALAXY", 0.31), ("QSO", 1.7), ("STAR", 1e-3)])
def test_a_line_stands_at_its_redshift(
    libraries: dict[str, RestLibrary], family: str, redshift: float
) -> None:
    flux, valid = shift_rows(libraries[family], np.array([0]), np.array([redshift]))
    assert valid[0, 1000:3000].all()
    peak = flux[0] - np.median(flux[0])
    peak[np.abs(WAVELENGTH / (LINES[family] * (1 + redshift)) - 1) > 0.003] = 0.0
    centre = float((peak * WAVELENGTH).sum() / peak.sum())
    assert centre / (LINES[family] * (1 + redshift)) == pytest.approx(1.0, abs=2e-5)


def test_the_signal_to_noise_ratio_is_as_asked(
    libraries: dict[str, RestLibrary], donors: Donors
) -> None:
    batch = simulator(libraries, donors).draw(48, np.random.default_rng(0), "GALAXY")
    good = batch.ivar > 0
    ratio = [
        np.median(batch.shape[i, good[i]] * np.sqrt(batch.ivar[i, good[i]])) for i in range(48)
    ]
    assert np.median(ratio) == pytest.approx(10.0, rel=0.15)
    pull = (batch.flux - batch.shape)[good] * np.sqrt(batch.ivar[good])
    assert np.std(pull) == pytest.approx(1.0, abs=0.02)


def test_what_is_drawn(libraries: dict[str, RestLibrary], donors: Donors) -> None:
    made = simulator(libraries, donors, no_signal_share=0.2, natural_share=0.5)
    batch = made.draw(300, np.random.default_rng(1))
    empty = batch.family == len(FAMILIES)
    assert 0.1 < empty.mean() < 0.3
    assert np.isnan(batch.redshift[empty]).all()
    assert (batch.shape[empty] == 0).all()
    assert (batch.subclass[empty] == SUBCLASSES.index(NO_SIGNAL)).all()
    for index, name in enumerate(FAMILIES):
        mine = batch.family == index
        assert np.isfinite(batch.redshift[mine]).all()
        labels = {SUBCLASSES[k] for k in batch.subclass[mine] if k >= 0}
        assert labels <= {f"{name} {sub}" for sub in FAMILIES[name]}
    # A quasar that was moved is neither plain nor broad-lined: that depends on what is seen.
    quasar = (batch.family == 1) & (batch.subclass < 0)
    assert quasar.any()
    stars = batch.family == 2
    assert np.abs(batch.redshift[stars]).max() < 0.005
    assert np.isfinite(batch.flux).all()
    assert batch.flux.shape == (300, COUNT)
    assert (batch.flux[batch.ivar == 0] == 0).all()


def test_the_same_seed_gives_the_same_spectra(
    libraries: dict[str, RestLibrary], donors: Donors
) -> None:
    made = simulator(libraries, donors, natural_share=0.5)
    one, other = (made.draw(8, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.flux, other.flux)


def test_parts_share_no_object(libraries: dict[str, RestLibrary]) -> None:
    library = libraries["QSO"]
    rows = [library.part(part) for part in PARTS]
    assert sorted(np.concatenate(rows).tolist()) == list(range(N_ROWS))


def test_emission_line_sets_are_those_of_star_forming_galaxies() -> None:
    rng = np.random.default_rng(0)
    sets = [line_ratios(rng) for _ in range(300)]
    nii = np.log10([one[6585.27] for one in sets])
    oiii = np.log10([one[5008.24] / one[4862.68] for one in sets])
    # Below the line that parts them from active nuclei (Kauffmann et al. 2003).
    assert np.mean(oiii < 0.61 / (nii - 0.05) + 1.3) > 0.97
    assert np.corrcoef(nii, oiii)[0, 1] < -0.8
    for one in sets[:20]:
        assert one[5008.24] / one[4960.30] == pytest.approx(2.98)
        assert 1.0 <= one[3729.88] / one[3727.09] <= 1.45


def test_lines_have_the_equivalent_width_that_makes_a_starburst() -> None:
    first = 32000
    wavelength = 10.0 ** ((first + np.arange(7000)) * STEP)
    for seed in range(5):
        made = with_lines(np.ones(7000), first, np.random.default_rng(seed))
        near = np.abs(wavelength - 6564.61) < 8.0
        width = float(((made - 1.0) * np.gradient(wavelength))[near].sum())
        assert 50.0 < width < 420.0
        assert (made >= 1.0).all()
        place = int(np.argmax(np.where(np.abs(wavelength - 3728.5) < 10, made, 0.0)))
        assert abs(wavelength[place] - 3728.5) < 2.5

"""Real spectra as they are shown to a network."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="real spectra are read with pyarrow, of the extra 'train'")

from training.archive.sdss import SdssSpectrum
from training.archive.subclasses import FAMILIES, SUBCLASSES
from training.simulate.axis import WAVELENGTH
from training.simulate.real import RealConditions, RealLight, half_of, real_subclass
from training.simulate.survey import SurveyConditions

LINES = {"GALAXY": 5008.24, "QSO": 2798.75, "STAR": 5176.6}
REDSHIFT = {"GALAXY": 0.3, "QSO": 1.2, "STAR": 0.0003}
SUBCLASS = {"GALAXY": "STARBURST", "QSO": "BROADLINE", "STAR": "K5 (110281)"}
CALM = SurveyConditions(cut_share=0.0, ripple=0.0, reddening=0.0, error_scale=0.0)
# SDSS-I/II: of the windows that instruments have, all but this are wider.
SEEN = (WAVELENGTH > 3850.0) & (WAVELENGTH < 9150.0)


def spectrum(family: str, number: int = 0, snr: float = 20.0, warning: int = 0) -> SdssSpectrum:
    """One strong line on a flat continuum, with noise."""
    z = REDSHIFT[family]
    at = LINES[family] * (1.0 + z)
    flux = 3.0 * (1.0 + 4.0 * np.exp(-0.5 * ((WAVELENGTH / at - 1.0) / 8e-4) ** 2))
    rng = np.random.default_rng(number)
    noise = 3.0 / snr
    ivar = np.where(SEEN, 1.0 / noise**2, 0.0)
    return SdssSpectrum(
        f"{family}-{number}", family, SUBCLASS[family], z, snr, warning,
        WAVELENGTH, flux + noise * rng.standard_normal(flux.size), ivar,
    )  # fmt: skip


def light(
    seen: SurveyConditions = CALM, spectra: list[SdssSpectrum] | None = None, **changes: object
) -> RealLight:
    conditions = RealConditions(share=0.2, **changes)  # type: ignore[arg-type]
    return RealLight(spectra or [spectrum(name) for name in FAMILIES], seen, conditions)


def test_the_line_is_where_the_redshift_says() -> None:
    batch = light(noise_share=0.0).draw(60, np.random.default_rng(0))
    moved = 0
    for i in range(60):
        name = list(FAMILIES)[batch.family[i]]
        at = float(LINES[name] * (1.0 + batch.redshift[i]))
        peak = WAVELENGTH[int(batch.flux[i].argmax())]
        assert abs(peak / at - 1.0) < 4e-4
        moved += abs(batch.redshift[i] - REDSHIFT[name]) > 1e-3
        assert batch.ivar[i].max() > 0
        assert SUBCLASSES[batch.subclass[i]].startswith(name)
    assert moved > 20
    stars = batch.redshift[batch.family == 2]
    assert np.abs(stars).max() < 0.004


def test_the_ends_do_not_tell_the_redshift() -> None:
    one = light(noise_share=0.0, shift=(0.05, 0.05), trim=0.01, spectra=[spectrum("QSO")])
    batch = one.draw(600, np.random.default_rng(1))
    good = batch.ivar > 0
    first = np.log(WAVELENGTH[good.argmax(axis=1)])
    last = np.log(WAVELENGTH[len(WAVELENGTH) - 1 - good[:, ::-1].argmax(axis=1)])
    move = np.log1p(batch.redshift)
    assert np.std(move) > 0.02
    for end in (first, last):
        assert abs(np.corrcoef(end, move)[0, 1]) < 0.12
    # Nothing is seen where some shift would have had nothing.
    assert first.min() >= np.log(3850.0) + 0.0499
    assert last.max() <= np.log(9150.0) - 0.0499


def test_noise_is_added_in_quadrature_and_stated() -> None:
    bright = light(noise_share=1.0, faintest=2.0, spectra=[spectrum("QSO")])
    batch = bright.draw(40, np.random.default_rng(2))
    assert batch.snr.min() >= 2.0
    assert batch.snr.max() <= 20.0
    at = LINES["QSO"] * (1.0 + batch.redshift)
    for i in range(40):
        good = (batch.ivar[i] > 0) & (np.abs(WAVELENGTH / at[i] - 1.0) > 0.01)
        stated = 1.0 / np.sqrt(batch.ivar[i, good])
        found = np.std(batch.flux[i, good])
        assert found == pytest.approx(np.median(stated), rel=0.12)
        assert 1.0 / found == pytest.approx(batch.snr[i], rel=0.12)
    # Whether its line would have been found broad is not known any more.
    assert (batch.subclass == -1).all()


def test_a_faint_spectrum_is_not_made_brighter() -> None:
    faint = light(noise_share=1.0, faintest=2.0, spectra=[spectrum("QSO", snr=1.0)])
    batch = faint.draw(20, np.random.default_rng(2))
    np.testing.assert_allclose(batch.snr, 1.0)
    assert np.isfinite(batch.flux).all()


def test_redshifts_stay_in_range() -> None:
    near = spectrum("GALAXY")
    near = SdssSpectrum(**{**near.__dict__, "redshift": 0.005})
    batch = light(shift=(0.05, 0.05), spectra=[near]).draw(100, np.random.default_rng(0))
    assert batch.redshift.min() >= -1e-3
    assert batch.redshift.max() > 0.02


def test_few_stars_are_seen_more_often_than_their_share() -> None:
    spectra = [spectrum("QSO", i) for i in range(16)] + [spectrum("STAR")]
    batch = light(spectra=spectra).draw(2000, np.random.default_rng(0))
    # Weights are 16 / sqrt(16) and 1 / sqrt(1).
    assert np.mean(batch.family == 2) == pytest.approx(0.2, abs=0.03)


def test_spectra_with_a_warning_are_not_shown() -> None:
    spectra = [spectrum("QSO"), spectrum("STAR", warning=4)]
    assert list(light(spectra=spectra).object) == ["QSO-0"]
    with pytest.raises(ValueError, match="sure redshift"):
        light(spectra=[spectrum("STAR", warning=4)])


def test_objects_of_two_families_are_not_shown() -> None:
    other = SdssSpectrum(**{**spectrum("QSO", 9).__dict__, "object": "STAR-0"})
    assert set(light(spectra=[spectrum("STAR"), other, spectrum("QSO")]).object) == {"QSO-0"}


def test_the_same_seed_draws_the_same() -> None:
    made = [light().draw(16, np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(made[0].flux, made[1].flux)
    np.testing.assert_array_equal(made[0].redshift, made[1].redshift)


def test_cuts_never_leave_next_to_nothing() -> None:
    narrow = SurveyConditions(cut_share=1.0, cut_range=(0.01, 0.02))
    batch = light(narrow).draw(50, np.random.default_rng(0))
    assert (batch.ivar > 0).sum(axis=1).min() >= 300


@pytest.mark.parametrize(
    ("family", "subclass", "ours"),
    [
        ("GALAXY", "", "GALAXY passive"), ("GALAXY", "AGN BROADLINE", "GALAXY BROADLINE"),
        ("QSO", "", "QSO plain"), ("QSO", "STARFORMING BROADLINE", "QSO BROADLINE"),
        ("QSO", "STARFORMING", None), ("STAR", "B9III (15318)", "STAR A0"),
        ("STAR", "sd:F0 (G_84-29)", None),
    ],
)  # fmt: skip
def test_subclasses(family: str, subclass: str, ours: str | None) -> None:
    one = SdssSpectrum(**{**spectrum("QSO").__dict__, "family": family, "subclass": subclass})
    index = real_subclass(one)
    assert index == (-1 if ours is None else SUBCLASSES.index(ours))


def test_halves_share_no_object_and_hold_every_family() -> None:
    spectra = [spectrum(name, i // 2) for name in FAMILIES for i in range(12)]
    parts = [half_of(spectra, half) for half in (0, 1)]
    names = [{one.object for one in part} for part in parts]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 18
    for part in parts:
        for family in FAMILIES:
            assert len({one.object for one in part if one.family == family}) == 3


def test_an_object_of_two_families_is_in_one_half() -> None:
    spectra = [spectrum(name, i) for name in FAMILIES for i in range(5)]
    other = SdssSpectrum(**{**spectrum("QSO", 9).__dict__, "object": "STAR-0"})
    for both in ([*spectra, other], [other, *spectra]):
        parts = [{one.object for one in half_of(both, half)} for half in (0, 1)]
        assert not parts[0] & parts[1]
        assert len(parts[0] | parts[1]) == 15


@pytest.mark.parametrize("values", [{"share": 1.0}, {"share": -0.1}, {"shift": (0.0, 0.1)}])
def test_conditions_that_make_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"share|shift"):
        RealConditions(**values)  # type: ignore[arg-type]

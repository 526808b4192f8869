"""What makes simulated survey spectra differ beyond their rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the libraries are built with pyarrow, of the extra 'train'")

from test_survey import QUIET, tiny_donors, tiny_rest

from training.archive.subclasses import FAMILIES, SUBCLASSES
from training.simulate.axis import COUNT, WAVELENGTH
from training.simulate.survey import SurveyConditions, SurveySimulator
from training.simulate.variety import add_hosts, mixed_ripple, tilts, vary_lines


def line(centre: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((WAVELENGTH / centre - 1.0) / width) ** 2)


def width_of(flux: np.ndarray, centre: float) -> float:
    """Equivalent width over a continuum through both sides of a line, Angstrom."""
    near = np.abs(WAVELENGTH / centre - 1.0) < 0.06
    ends = np.abs(np.abs(WAVELENGTH / centre - 1.0) - 0.06) < 0.004
    level = np.polyval(np.polyfit(WAVELENGTH[ends], flux[ends], 1), WAVELENGTH[near])
    return float(np.trapezoid(flux[near] / level - 1.0, WAVELENGTH[near]))


def test_lines_change_and_the_continuum_stays() -> None:
    continuum = (WAVELENGTH / 6000.0) ** -1.2
    one = continuum * (1.0 + 1.5 * line(5000.0, 0.008) + 1.0 * line(8000.0, 0.008))
    made = vary_lines(np.repeat(one[None], 200, axis=0), 0.4, np.random.default_rng(0))
    free = (np.abs(WAVELENGTH / 5000.0 - 1.0) > 0.06) & (np.abs(WAVELENGTH / 8000.0 - 1.0) > 0.06)
    change = np.abs(made[:, free] / one[free] - 1.0)
    # What is left of the slope at the ends counts as a little of a line.
    assert np.median(change) < 0.03
    assert change.max() < 0.25
    ratio = {
        centre: np.log([width_of(row, centre) / width_of(one, centre) for row in made])
        for centre in (5000.0, 8000.0)
    }
    for values in ratio.values():
        assert np.std(values) == pytest.approx(0.4, abs=0.1)
        assert abs(np.mean(values)) < 0.15
    # They change together, but not by one factor.
    together = np.corrcoef(*ratio.values())[0, 1]
    assert 0.2 < together < 0.95


def test_absorption_is_left_as_it_is() -> None:
    one = 1.0 - 0.8 * line(5000.0, 0.004)
    made = vary_lines(np.repeat(one[None], 20, axis=0), 0.5, np.random.default_rng(0))
    deep = one < 0.6
    np.testing.assert_allclose(made[:, deep], np.repeat(one[None, deep], 20, axis=0), rtol=1e-5)


def test_hosts_have_the_share_asked_for() -> None:
    quasar, galaxy = np.full((2, COUNT), 7.0), np.full((2, COUNT), 0.1)
    galaxy[:, 2000] = 0.3
    made = add_hosts(quasar, galaxy, np.array([0.0, 0.5]))
    np.testing.assert_allclose(np.median(made, axis=1), 1.0)
    np.testing.assert_allclose(made[:, 2000], [1.0, 2.0])


def test_tilts_go_both_ways() -> None:
    made = tilts(0.6, 400, np.random.default_rng(0))
    index = np.log(made[:, -1] / made[:, 0]) / np.log(WAVELENGTH[-1] / WAVELENGTH[0])
    assert np.std(index) == pytest.approx(0.6, abs=0.06)
    assert abs(np.mean(index)) < 0.1


def test_a_share_of_the_ripple_is_wild_and_no_light_is_lost() -> None:
    made = mixed_ripple(0.02, 0.5, 0.25, 400, np.random.default_rng(0))
    assert made.min() >= 0.2
    assert np.mean(made.std(axis=1) > 0.1) == pytest.approx(0.16, abs=0.07)
    plain = mixed_ripple(0.02, 0.5, 0.0, 400, np.random.default_rng(0))
    assert plain.std(axis=1).max() < 0.1


def simulator(**changes: object) -> SurveySimulator:
    libraries = {name: tiny_rest(name) for name in FAMILIES}
    conditions = SurveyConditions(**{**QUIET.__dict__, **changes})  # type: ignore[arg-type]
    return SurveySimulator(libraries, tiny_donors(), "train", conditions)


def test_quasars_with_other_lines_are_no_longer_broad_or_plain() -> None:
    bal = SUBCLASSES.index("QSO BAL")
    plain = [SUBCLASSES.index(f"QSO {name}") for name in ("plain", "BROADLINE")]
    usual = {"natural_share": 1.0, "snr": (30.0, 30.0)}
    before = simulator(**usual).draw(200, np.random.default_rng(0), "QSO")
    after = simulator(**usual, line_spread=0.4, line_share=1.0).draw(
        200, np.random.default_rng(0), "QSO"
    )
    assert np.isin(before.subclass, plain).any()
    assert not np.isin(after.subclass, plain).any()
    assert (after.subclass == bal).any()
    other = simulator(**usual, line_spread=0.4, line_share=1.0).draw(
        100, np.random.default_rng(0), "GALAXY"
    )
    assert (other.subclass >= 0).all()


def test_near_quasars_alone_get_hosts() -> None:
    z = np.repeat([0.5, 2.5], 60)
    bare = simulator().draw(120, np.random.default_rng(0), "QSO", z)
    hosted = simulator(host=0.6, host_share=1.0).draw(120, np.random.default_rng(0), "QSO", z)
    # [O III] at z = 0.5, which the galaxies of this library have and its quasars do not.
    pixel = int(np.abs(WAVELENGTH - 5008.24 * 1.5).argmin())
    level = [one.shape[:60, pixel] / np.median(one.shape[:60], axis=1) for one in (bare, hosted)]
    assert np.median(level[1] - level[0]) > 0.5
    np.testing.assert_allclose(
        hosted.shape[60:] / np.median(hosted.shape[60:], axis=1, keepdims=True),
        bare.shape[60:] / np.median(bare.shape[60:], axis=1, keepdims=True),
        rtol=1e-4,
    )

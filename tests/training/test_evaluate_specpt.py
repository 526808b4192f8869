"""How SpecPT is measured: its samples, its figures, and whether the combination gains by it."""

from __future__ import annotations

import numpy as np
import pytest
from test_survey import tiny_donors, tiny_rest

from specinfer.line_fluxes import Denoised, measure_fluxes
from specinfer.spectrum import Spectrum
from specinfer.survey_card import FIT_CLUES, NONE_CLUES
from training.archive.subclasses import SUBCLASSES
from training.calibrate_specpt import misfit_block
from training.evaluate_specpt import redshift_figures
from training.evaluation.specpt_readme import specpt_lines, trial_lines
from training.simulate.desi_like import BGS, ELG, DesiLike, Sample
from training.simulate.survey import WAVELENGTH
from training.survey_cases import Case
from training.try_proposer import Answers, by_spectrum, compared, cross_validated


def test_samples_are_what_they_say() -> None:
    library = tiny_rest("GALAXY")
    part = library.part("train")
    library.redshift[part] = np.linspace(0.02, 1.2, part.size)
    sample = Sample("near", (0.05, 0.5), True, (3.0, 9.0), False, 0.0)
    drawn = DesiLike(library, tiny_donors(), "train", sample).draw(20, np.random.default_rng(0))
    assert len(drawn.flux) == 20
    assert ((drawn.redshift > 0.04) & (drawn.redshift < 0.51)).all()
    assert ((drawn.snr >= 3.0) & (drawn.snr <= 9.0)).all()
    inside = (WAVELENGTH > 3600.0) & (WAVELENGTH < 9824.0)
    assert ((drawn.ivar[:, inside] > 0).mean(axis=1) > 0.9).all()


def test_emission_line_galaxies_show_their_oxygen() -> None:
    library = tiny_rest("GALAXY")
    # A line of [O II] on every row, so that some have enough of it.
    wavelength = 10.0 ** ((library.first + np.arange(library.flux.shape[1])) * 1e-4)
    library.flux += 4.0 * np.exp(-0.5 * ((wavelength - 3728.5) / 3.0) ** 2).astype(np.float32)
    sample = Sample("far", (0.6, 1.2), False, (1.0, 4.0), True, 8.0)
    drawn = DesiLike(library, tiny_donors(), "train", sample).draw(6, np.random.default_rng(0))
    names = np.array(SUBCLASSES)[drawn.subclass]
    assert set(names) <= {"GALAXY STARFORMING", "GALAXY STARBURST"}
    for row in range(6):
        clean = drawn.shape[row].astype(np.float64)
        one = Spectrum(WAVELENGTH, clean, ivar=drawn.ivar[row].astype(np.float64))
        found = measure_fluxes(one, Denoised(WAVELENGTH, clean), float(drawn.redshift[row]))
        assert next(line.snr for line in found if line.name == "[O II]") >= 8.0


def test_the_shipped_samples() -> None:
    assert (BGS.redshift[1], ELG.redshift) == (0.6, (0.6, 1.6))
    assert ELG.oxygen_snr > 0


def test_redshift_figures() -> None:
    dz = np.concatenate([np.random.default_rng(0).normal(0.0, 5e-4, 990), np.full(10, 0.5)])
    made = redshift_figures(dz, np.arange(1000).astype(str))
    assert made["nmad"][0] == pytest.approx(5e-4, rel=0.1)
    assert made["outliers_0.15"][0] == pytest.approx(0.01)
    low, high = made["outliers_0.15"][1:]
    assert low < 0.01 < high
    assert made["n_objects"] == 1000


def test_misfits_of_a_card_are_ordered() -> None:
    block = misfit_block(np.ones(50))
    assert 0 < block["usual_misfit"] < block["high_misfit"]
    block = misfit_block(np.linspace(0.5, 4.5, 1001))
    assert block["usual_misfit"] == pytest.approx(2.5)
    assert block["high_misfit"] == pytest.approx(4.46, abs=0.01)


def case(right: bool, clue: float, everywhere: bool = True, truth: str = "GALAXY") -> Case:
    fits = np.zeros((2, len(FIT_CLUES)))
    fits[0, 0] = clue
    return Case(
        fits, np.eye(len(NONE_CLUES))[0], np.array([0, 1]), np.array([right, False]),
        np.array([0.0 if right else 0.4, 0.4]), truth, 1.0, everywhere,
    )  # fmt: skip


def test_searches_belong_to_their_spectra() -> None:
    cases = [case(True, 1.0, False), case(True, 1.0), case(True, 1.0), case(True, 2.0, False),
             case(False, 1.0)]  # fmt: skip
    assert [len(one) for one in by_spectrum(cases)] == [2, 1, 2]


def test_a_clue_that_tells_is_worth_something() -> None:
    rng = np.random.default_rng(1)
    right = rng.random(120) < 0.7
    told = cross_validated([case(bool(r), 3.0 if r else -3.0) for r in right])
    blind = cross_validated([case(bool(r), 0.0) for r in right])
    assert told.nll.mean() < 0.3 * blind.nll.mean()
    made = compared(blind, told)
    assert made["nll_difference"][2] < 0
    assert made["with_it"]["right"][0] == pytest.approx(right.mean(), abs=0.05)
    with pytest.raises(SystemExit, match="same spectra"):
        compared(blind, Answers(*(column[:-1] for column in told)))
    text = "\n".join(
        trial_lines(
            made | {"beside": "gasnet2@0.1.0", "count": 120,
                    "nll_difference_real": [0.0, -1.0, 1.0]}
        )
    )  # fmt: skip
    assert "It joins" in text


def test_the_readme_says_all_figures() -> None:
    figure = [0.5, 0.4, 0.6]
    counts = {"n_spectra": 10, "n_objects": 9}
    redshifts = counts | {"nmad": figure, "outliers_0.15": figure, "outliers_0.0033": figure}
    lines = {"n_lines": 30, "n_objects": 9, "mean": figure, "median": figure}
    sky = {"noise_power": figure, "error_power": figure, "share_of_noise_kept": figure}
    sample = redshifts | {
        "redshift": [0.0, 0.6], "oxygen_snr": 8.0, "snr_percentiles": {"50": 3.0},
        "by_snr": [{"from": 12.0, "to": 1e9} | redshifts],
    }  # fmt: skip
    block = {
        "desi_like": {
            "ELG-like": sample,
            "lines": {
                "measured": lines | {"true_snr": [8.0, 12.5]},
                "denoised": lines | {"true_snr_from": 10.0},
                "by_line": {"[O II]": lines},
            },
        },
        "by_class": [{"family": "QSO", "by": "snr", "from": 12.0, "to": 1e9} | redshifts],
        "real": {"GALAXY": redshifts},
        "real_beside": {"gasnet2@0.1.0": {"GALAXY": redshifts}},
        "reconstruction": counts
        | {
            "misfit": figure, "misfit_of_truth": figure,
            "by_snr": [
                {"from": 0.0, "to": 1e9, "n_spectra": 10, "misfit": figure,
                 "misfit_of_truth": figure}
            ],
            "sky": {"pixels": 5, "sky": sky, "elsewhere": sky},
        },
    }  # fmt: skip
    text = "\n".join(specpt_lines(block))
    for words in (
        "ELG-like galaxies",
        "S/N above 12",
        "gasnet2@0.1.0 on real",
        "[O II]",
        "8 sigma",
    ):
        assert words in text

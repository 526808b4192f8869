"""Eigen-spectra: where they start, how they are shifted, and that training lowers chi2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_survey import tiny_donors, tiny_rest

from specinfer.preprocess import Preprocessing
from specinfer.zgrid import LN_STEP
from training.architectures.eigen import EigenConfig, EigenNet, UNet, shifted
from training.archive.rest import RestLibrary
from training.nmf import factors
from training.paths import ROOT
from training.simulate.axis import COUNT, FIRST
from training.simulate.survey import SurveyConditions, SurveySimulator, shift_rows
from training.train_eigen import Problem, best_coefficients, inputs_of, losses, read_eigen_recipe
from training.train_unet import misfit, pair_of

GRID = Preprocessing(wavelength_min=3560.0, wavelength_max=10380.0, n_pixels=512)


def test_factors_are_the_parts_of_a_mixture() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 300)
    parts = np.stack([np.exp(-0.5 * ((x - c) / 0.05) ** 2) for c in (0.2, 0.5, 0.8)])
    mixed = rng.exponential(1.0, (60, 3)) @ parts + 1e-3
    library = RestLibrary(
        "STAR", 34772, mixed.astype(np.float32), np.zeros(60, dtype=np.int64),
        np.full(60, np.nan), np.full(60, np.nan), np.array([str(i) for i in range(60)]),
    )  # fmt: skip
    spectra, coefficients = factors(library, np.arange(60), 3, 300, 1)
    assert (spectra >= 0).all()
    np.testing.assert_allclose(spectra.mean(axis=1), 1.0, rtol=1e-4)
    misfit = np.linalg.norm(coefficients @ spectra - mixed) / np.linalg.norm(mixed)
    assert misfit < 0.05


def test_both_sides_shift_alike() -> None:
    library = tiny_rest("GALAXY")
    redshift = np.array([0.1234, 0.777])
    expected, valid = shift_rows(library, np.array([0, 1]), redshift)
    place = torch.from_numpy(FIRST - library.first - np.log1p(redshift) / LN_STEP)
    made, inside = shifted(torch.from_numpy(library.flux[:2]), place, COUNT)
    np.testing.assert_array_equal(inside.numpy(), valid)
    np.testing.assert_allclose(made.numpy()[valid], expected[valid], atol=2e-5)
    stacked, _ = shifted(torch.from_numpy(library.flux[:2])[:, None].repeat(1, 3, 1), place, COUNT)
    np.testing.assert_allclose(stacked[:, 1].numpy(), made.numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def simulator() -> SurveySimulator:
    libraries = {"GALAXY": tiny_rest("GALAXY")}
    return SurveySimulator(libraries, tiny_donors(), "train", SurveyConditions(snr=(20.0, 40.0)))


def test_coefficients_are_found_again(simulator: SurveySimulator) -> None:
    batch = simulator.draw(6, np.random.default_rng(3), "GALAXY")
    library = simulator.libraries["GALAXY"]
    problem = Problem(batch, library.first)
    line = torch.from_numpy(library.flux[0])
    pair = torch.stack([line - line.median() + 1e-3, torch.ones_like(line)])
    templates, inside = shifted(pair.expand(6, 2, -1), problem.place, COUNT)
    problem.reach(inside)
    found = best_coefficients(problem, templates)
    assert (found >= 0).all()
    model = (found[:, :, None] * templates).sum(dim=1)
    # Tamed residuals of Gaussian noise, sky lines and ripples: about one a pixel.
    assert 0.7 < float(problem.chi2(model)) < 2.0


def test_training_lowers_chi2_and_finds_the_line(simulator: SurveySimulator) -> None:
    torch.manual_seed(0)
    library = simulator.libraries["GALAXY"]
    config = EigenConfig(n_pixels=512, n_spectra={"GALAXY": 2}, channels=(4, 8))
    # The line is there, far too broad.
    flux = torch.from_numpy(library.flux[0])
    broad = torch.nn.functional.avg_pool1d(flux[None], 41, 1, 20)[0]
    model = EigenNet(config, {"GALAXY": torch.stack([broad, torch.ones_like(broad)])})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    fits, codes = [], []
    for step in range(16):
        batch = simulator.draw(12, np.random.default_rng(step % 2), "GALAXY")
        fitted, encoded = losses(model, batch, inputs_of(batch, GRID), "GALAXY", library.first)
        fits.append(fitted.item())
        codes.append(encoded.item())
        optimizer.zero_grad()
        (fitted + encoded).backward()
        optimizer.step()
    assert fits[-1] < 0.97 * fits[1]
    assert codes[-1] < codes[1]
    learned = model.eigenspectra("GALAXY").detach().numpy().max(axis=0)
    assert (learned >= 0).all()
    line = round(np.log10(5008.24) / 1e-4) - library.first
    assert learned[line] > 1.3 * float(broad[line])


def test_shapes() -> None:
    config = EigenConfig(n_pixels=512, n_spectra={"GALAXY": 3, "STAR": 4}, channels=(4, 8))
    spectra = {name: torch.rand(count, 900) for name, count in config.n_spectra.items()}
    model = EigenNet(config, spectra).eval()
    (coefficients,) = model(torch.zeros(2, 3, 512))
    assert coefficients.shape == (2, 7)
    assert (coefficients >= 0).all()
    (rebuilt,) = UNet(config).eval()(torch.zeros(2, 3, 512))
    assert rebuilt.shape == (2, 512)


def test_an_unknown_key_is_an_error(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "recipe.toml"
    path.write_text('name = "x"\nversion = "0.0.1"\n[training]\nstep = 3\n')
    with pytest.raises(SystemExit, match="unknown keys"):
        read_eigen_recipe(path)


def test_the_recipe_is_whole() -> None:
    recipe = read_eigen_recipe(ROOT / "training" / "configs" / "gasnet3.toml")
    assert recipe.name == "gasnet3"
    assert recipe.network.n_pixels == recipe.preprocessing.n_pixels
    assert set(recipe.network.n_spectra) == {"GALAXY", "QSO", "STAR"}


def test_the_unet_learns_to_take_noise_away(simulator: SurveySimulator) -> None:
    torch.manual_seed(0)
    model = UNet(EigenConfig(n_pixels=512, channels=(2, 4)))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    simulator = SurveySimulator(
        simulator.libraries, tiny_donors(), "train", SurveyConditions(snr=(1.0, 3.0))
    )
    values = []
    for step in range(25):
        batch = simulator.draw(12, np.random.default_rng(step % 3), "GALAXY")
        seen, target, weight = pair_of(batch, GRID)
        loss = misfit(model(seen)[0], target, weight)
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < 0.7 * values[0]
    assert values[-1] < 0.7 * float(misfit(seen[:, 0], target, weight))


def test_the_recipe_of_the_unet_is_for_the_unet() -> None:
    path = ROOT / "training" / "configs" / "gasnet3-unet.toml"
    assert read_eigen_recipe(path, "unet").network.n_pixels == 2048
    with pytest.raises(SystemExit, match="not 'eigen'"):
        read_eigen_recipe(path)

"""The survey networks: shapes, folding, what their losses ask, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_real import spectrum
from test_survey import tiny_donors, tiny_rest

from specinfer.preprocess import Preprocessing
from training.architectures.fuse import fuse
from training.architectures.survey import (
    PublishedSurveyConfig,
    PublishedSurveyNet,
    SurveyConfig,
    SurveyNet,
)
from training.archive.subclasses import FAMILIES, NO_SIGNAL, SUBCLASSES
from training.paths import ROOT
from training.provenance import recipe_file
from training.run import CHECKPOINT
from training.simulate.real import RealConditions, RealLight
from training.simulate.survey import SurveyConditions, SurveySimulator
from training.survey_recipe import SurveyOptim, SurveyRecipe, read_survey_recipe
from training.train_survey import (
    SurveyMaker,
    SurveyRun,
    claim_with,
    family_logits,
    options_of,
    real_scores,
    real_truth,
    scores,
    subclass_loss,
)

TINY = SurveyConfig(
    n_pixels=256, n_classes=len(SUBCLASSES), n_shifts=56, stem_kernels=(3, 5), widths=(8, 8, 12),
    n_features=4, n_templates=6, template_length=80, n_evidence=6, embedding=16,
)  # fmt: skip
GRID = Preprocessing(wavelength_min=3560.0, wavelength_max=10380.0, n_pixels=256)


def test_shapes_and_folding() -> None:
    torch.manual_seed(0)
    network = SurveyNet(TINY)
    network.train()
    network(torch.randn(8, 3, 256))
    network.eval()
    spectrum = torch.randn(3, 3, 256)
    with torch.no_grad():
        answers = network(spectrum)
        folded = fuse(network)(spectrum)  # type: ignore[type-var]
    sizes = [part.shape[1] for part in answers]
    assert sizes == [len(SUBCLASSES), TINY.n_redshift, TINY.n_redshift, 16]
    for one, other in zip(answers, folded, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-4)


def test_the_published_network_has_the_published_shape() -> None:
    network = PublishedSurveyNet(PublishedSurveyConfig()).eval()
    (logits,) = network(torch.zeros(2, 3, 3600))
    assert logits.shape == (2, 13)
    assert [block[0].out_channels for block in network.blocks] == [16, 32, 64, 128, 256, 512]


def test_a_family_without_a_subclass_asks_for_the_family_alone() -> None:
    logits = torch.full((1, len(SUBCLASSES)), -20.0)
    logits[0, SUBCLASSES.index("QSO plain")] = 5.0
    quasar, star = torch.tensor([1]), torch.tensor([2])
    unknown = torch.tensor([-1])
    assert float(subclass_loss(logits, unknown, quasar, 0.0)) == pytest.approx(0.0, abs=1e-4)
    assert float(subclass_loss(logits, unknown, star, 0.0)) > 10.0
    broad = torch.tensor([SUBCLASSES.index("QSO BROADLINE")])
    assert float(subclass_loss(logits, broad, quasar, 0.0)) > 10.0
    assert family_logits(logits).shape == (1, len(FAMILIES) + 1)
    nothing = torch.full((1, len(SUBCLASSES)), -20.0)
    nothing[0, SUBCLASSES.index(NO_SIGNAL)] = 5.0
    assert int(family_logits(nothing).argmax()) == len(FAMILIES)


def test_training_learns_and_resumes(tmp_path: Path) -> None:
    libraries = {name: tiny_rest(name) for name in FAMILIES}
    conditions = SurveyConditions(snr=(10.0, 40.0), natural_share=1.0, cut_share=0.0)
    maker = SurveyMaker(SurveySimulator(libraries, tiny_donors(), "train", conditions), GRID)
    recipe = SurveyRecipe(
        "tiny", "0.0.1", GRID, conditions, TINY,
        SurveyOptim(steps=6, batch_size=24, warmup_steps=1, bfloat16=False, learning_rate=5e-3),
    )  # fmt: skip
    device = torch.device("cpu")
    run = SurveyRun(recipe, tmp_path, device)
    batch = maker.make(24, np.random.default_rng(0))
    seen = [run.update(batch)["loss"] for _ in range(6)]
    assert seen[-1] < seen[0]
    run.save()
    again = SurveyRun(recipe, tmp_path, device)
    assert again.step == 6
    made = scores(again, [batch])
    assert 0.0 <= made["subclass"] <= 1.0
    assert set(made) == {
        "subclass", "family", "gf_galaxy", "gf_qso", "nmad_galaxy", "nmad_qso"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["gasnet2", "published-survey"])
def test_the_recipes_are_whole(name: str) -> None:
    recipe = read_survey_recipe(ROOT / "training" / "configs" / f"{name}.toml")
    assert recipe.name == name
    assert recipe.network.n_classes == len(SUBCLASSES)
    if name == "gasnet2":
        # The last bin holds the largest quasar redshift.
        bins = recipe.redshift_bins
        assert bins.centres[0] <= 0.0
        assert np.expm1(bins.centres[-1]) > 5.0
    else:
        with pytest.raises(ValueError, match="no redshift"):
            _ = recipe.redshift_bins
    assert replace(recipe, version="9.9.9").training.steps > 1000


def real_light() -> RealLight:
    spectra = [spectrum(name, number) for name in FAMILIES for number in range(2)]
    return RealLight(spectra, SurveyConditions(), RealConditions(share=0.25))


def tiny_recipe(text: str = "", share: float = 0.25, start: str = "") -> SurveyRecipe:
    optim = SurveyOptim(steps=6, batch_size=24, warmup_steps=1, bfloat16=False, start=start)
    real = RealConditions(share=share)
    return SurveyRecipe("tiny", "0.0.1", GRID, SurveyConditions(), TINY, optim, real, text)


def test_real_spectra_have_their_share_of_a_batch() -> None:
    libraries = {name: tiny_rest(name) for name in FAMILIES}
    simulated = SurveySimulator(libraries, tiny_donors(), "train", SurveyConditions())
    batch = SurveyMaker(simulated, GRID, real_light()).make(24, np.random.default_rng(0))
    assert batch.input.shape == (24, 3, 256)
    drawn = real_light()
    rng = np.random.default_rng(0)
    simulated.draw(18, rng)
    np.testing.assert_allclose(batch.redshift[18:], drawn.draw(6, rng).redshift)
    again = SurveyMaker(simulated, GRID, real_light()).make(24, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.input, again.input)


def test_a_run_goes_on_from_the_average_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.train_survey.ROOT", tmp_path)
    device = torch.device("cpu")
    with pytest.raises(SystemExit, match="train first what this recipe starts from"):
        SurveyRun(tiny_recipe(start="first"), tmp_path / "second", device)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = SurveyRun(tiny_recipe(), tmp_path / "first", device)
    for value in first.average.parameters():
        value.data.add_(0.01)
    first.save()
    second = SurveyRun(tiny_recipe(start="first"), tmp_path / "second", device)
    assert second.step == 0
    for ours in (second.model, second.average):
        for mine, theirs in zip(ours.parameters(), first.average.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs)
    # Resumed, it goes on from its own weights.
    for value in second.average.parameters():
        value.data.add_(0.5)
    second.save()
    resumed = SurveyRun(tiny_recipe(start="first"), tmp_path / "second", device)
    torch.testing.assert_close(
        next(resumed.average.parameters()), next(second.average.parameters())
    )
    other = replace(tiny_recipe(start="first"), network=replace(TINY, embedding=8))
    (tmp_path / "third").mkdir()
    with pytest.raises(SystemExit, match="another shape"):
        SurveyRun(other, tmp_path / "third", device)


def test_options_belong_to_a_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(text="name")
    changed = claim_with(tmp_path, recipe, {"left_out_half": 1, "steps": 3})
    assert changed.training.steps == 3
    assert options_of(tmp_path) == {"left_out_half": 1, "steps": 3}
    # Nothing was trained yet: it may still be changed.
    claim_with(tmp_path, recipe, {"left_out_half": 0})
    (tmp_path / CHECKPOINT).write_bytes(b"")
    with pytest.raises(SystemExit, match="other options"):
        claim_with(tmp_path, recipe, {})
    claim_with(tmp_path, recipe, {"left_out_half": 0})
    with pytest.raises(SystemExit, match="no real spectra"):
        claim_with(tmp_path / "other", tiny_recipe(share=0.0), {"left_out_half": 0})
    assert options_of(tmp_path / "nowhere") == {}


def test_scores_of_real_spectra(tmp_path: Path) -> None:
    run = SurveyRun(tiny_recipe(), tmp_path, torch.device("cpu"))
    truth = real_truth([spectrum(name) for name in FAMILIES], GRID)
    assert truth.family.tolist() == [0, 1, 2]
    made = real_scores(run, truth)
    assert set(made) == {"real_family", "real_nll", "real_z_nll"}
    # Of an untrained network: about ln of the number of classes, and of bins.
    assert 0.2 < made["real_nll"] < 6.0
    assert made["real_z_nll"] > 1.0


def test_the_recipe_with_real_spectra_is_whole() -> None:
    path = ROOT / "training" / "configs" / "gasnet2-tuned.toml"
    recipe = read_survey_recipe(path)
    before = read_survey_recipe(ROOT / "training" / "configs" / "gasnet2.toml")
    assert recipe.name == "gasnet2"
    assert recipe.training.start == "runs/gasnet2"
    assert recipe.network == before.network
    assert recipe.preprocessing == before.preprocessing
    assert 0.1 <= recipe.real.share <= 0.2
    assert before.real.share == 0.0
    assert recipe_file(recipe.text, "gasnet2") == "training/configs/gasnet2-tuned.toml"
    assert recipe_file("changed since", "gasnet2") == "training/configs/gasnet2.toml"

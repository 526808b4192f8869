"""The survey networks: shapes, folding, what their losses ask, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
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
from training.simulate.survey import SurveyConditions, SurveySimulator
from training.survey_recipe import SurveyOptim, SurveyRecipe, read_survey_recipe
from training.train_survey import (
    SurveyMaker,
    SurveyRun,
    family_logits,
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

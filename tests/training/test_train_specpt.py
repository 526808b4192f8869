"""SpecPT: attention that looks, spectra that are answered alone, hidden patches, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_survey import tiny_donors, tiny_rest

from specinfer.noise_channel import CHANNELS
from specinfer.preprocess import Preprocessing
from training.architectures import named
from training.architectures.fuse import fuse
from training.architectures.specpt import PATCH, SpecPTConfig, SpecPTNet
from training.architectures.specpt_published import PublishedSpecPTConfig, PublishedSpecPTNet
from training.archive.subclasses import FAMILIES, SUBCLASSES
from training.learning_pictures import draw_curves, read_log
from training.paths import ROOT
from training.simulate.survey import SurveyConditions, SurveySimulator
from training.specpt_data import SpecPTMaker
from training.specpt_recipe import SpecPTOptim, SpecPTRecipe, read_specpt_recipe
from training.train import write_log
from training.train_specpt import LOG_FIELDS, SpecPTRun, hide, reconstruction_loss, scores

TINY = SpecPTConfig(
    n_pixels=256, n_shifts=56, stem=(8, 12), width=16, depth=2, heads=2, n_features=4,
    n_templates=6, template_length=80, n_evidence=6, embedding=16, dropout=0.0,
)  # fmt: skip
PUBLISHED = PublishedSpecPTConfig(n_pixels=256, channels=(4, 6, 8), width=16, depth=1, heads=2)
GRID = Preprocessing(wavelength_min=3560.0, wavelength_max=10380.0, n_pixels=256)


def spectra(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, CHANNELS, 256, generator=generator)
    x[:, 1] = (torch.rand(count, 256, generator=generator) > 0.1).float()
    return x * x[:, 1:2]


def network(config: SpecPTConfig = TINY) -> SpecPTNet:
    torch.manual_seed(3)
    return SpecPTNet(config).eval()


def test_outputs_and_their_sizes() -> None:
    net = network()
    with torch.no_grad():
        made = named(net, net(spectra(3)))
    assert {name: tuple(part.shape) for name, part in made.items()} == {
        "class_logits": (3, len(SUBCLASSES)),
        "galaxy_redshift_logits": (3, TINY.n_redshift),
        "qso_redshift_logits": (3, TINY.n_redshift),
        "embedding": (3, 16),
        "reconstruction": (3, 256),
    }
    plain = network(replace(TINY, conditional=False))
    assert plain.outputs == ("class_logits", "redshift_logits", "embedding", "reconstruction")
    with torch.no_grad():
        assert plain(spectra(1))[1].shape == (1, TINY.n_redshift)


def test_the_shipped_size_is_small() -> None:
    count = sum(p.numel() for p in SpecPTNet(SpecPTConfig()).parameters())
    assert 1e6 < count < 3e6


def test_what_a_spectrum_gets_does_not_depend_on_the_batch() -> None:
    net = network()
    x = spectra(6)
    with torch.no_grad():
        together = net(x)
        for row in range(len(x)):
            for part, alone in zip(together, net(x[row : row + 1]), strict=True):
                np.testing.assert_allclose(part[row].numpy(), alone[0].numpy(), atol=2e-6)


def test_the_published_network_answers_by_its_neighbours() -> None:
    """The fault that ours does not have: see `training.architectures.specpt_published`."""
    torch.manual_seed(0)
    net = PublishedSpecPTNet(PUBLISHED).eval()
    x = spectra(4)
    with torch.no_grad():
        together, alone = net(x)[0][0], net(x[:1])[0][0]
    assert float((together - alone).abs()) > 1e-5


def test_attention_is_used() -> None:
    """Tokens in another order give another answer, and what is far away matters."""
    net = network()
    x = spectra(2)
    order = torch.randperm(TINY.n_tokens, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        usual, shuffled = net(x)[1], net(x, order)[1]
        assert float((usual - shuffled).abs().max()) > 1e-3
        # A change at the blue end reaches the reconstruction at the red end.
        other = x.clone()
        other[:, 0, :PATCH] += 3.0 * other[:, 1, :PATCH]
        difference = (net.reconstruct(x) - net.reconstruct(other)).abs()
    assert float(difference[:, -2 * PATCH :].max()) > 1e-6


def test_positions_are_relative_and_known() -> None:
    """Rotations keep the length of queries; waves of ln(wavelength) tell tokens apart."""
    net = network()
    attention = net.blocks[0].attention
    q = torch.randn(1, 2, TINY.n_tokens, 8)
    turned = attention._turned(q)
    np.testing.assert_allclose(turned.norm(dim=-1), q.norm(dim=-1), rtol=1e-5)
    # The product of two turned tokens depends on their distance alone.
    same = q[:, :, :1].expand_as(q)
    product = attention._turned(same) @ attention._turned(same).transpose(-1, -2)
    np.testing.assert_allclose(product[0, 0, 0, 3], product[0, 0, 5, 8], rtol=1e-3, atol=1e-4)
    assert float(torch.pdist(net.wave).min()) > 1e-3


def test_what_nobody_saw_is_not_attended_to() -> None:
    """Tokens without a usable pixel change nothing elsewhere, and all of them make no NaN."""
    net = network()
    x = spectra(1)
    x[:, :, 64:128] = 0.0
    with torch.no_grad():
        tokens, _ = net.encode(x)
        away = (1.0 - x[:, 1].unflatten(1, (-1, PATCH)).amax(dim=2)) * -1e4
        assert float(away[0, 4:8].max()) == -1e4
        for part in net(torch.zeros(1, CHANNELS, 256)):
            assert torch.isfinite(part).all()
    assert torch.isfinite(tokens).all()


def test_the_exported_form_says_the_same() -> None:
    net = network()
    with torch.no_grad():
        for one, other in zip(net(spectra(3)), fuse(net)(spectra(3)), strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-4)


def test_hidden_patches_look_like_gaps() -> None:
    torch.manual_seed(0)
    x = torch.ones(64, CHANNELS, 2048)
    seen, hidden = hide(x, 0.4)
    assert float(hidden.float().mean()) == pytest.approx(0.4, abs=0.04)
    assert not seen.transpose(1, 2)[hidden].any()
    assert seen.transpose(1, 2)[~hidden].all()
    # Whole patches, in runs.
    patches = hidden.unflatten(1, (-1, PATCH))
    assert bool((patches.all(dim=2) == patches.any(dim=2)).all())
    assert not hide(x, 0.0)[1].any()


def test_the_loss_counts_what_it_should() -> None:
    guess, target = torch.zeros(2, 4), torch.tensor([[1.0, 2.0, 0.0, 0.0]] * 2)
    weight = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0] * 4])
    # Only the first spectrum has weight; its second pixel has none.
    assert float(reconstruction_loss(guess, target, weight)) == pytest.approx(0.5)
    counts = torch.tensor([[False, True, True, True]] * 2)
    assert float(reconstruction_loss(guess, target, weight, counts)) == pytest.approx(0.0)


def makers(**changes: float) -> SpecPTMaker:
    libraries = {name: tiny_rest(name) for name in FAMILIES}
    conditions = SurveyConditions(snr=(10.0, 40.0), natural_share=1.0, cut_share=0.0)
    simulator = SurveySimulator(libraries, tiny_donors(), "train", conditions)
    return SpecPTMaker(simulator, GRID, **changes)  # type: ignore[arg-type]


def recipe(**changes: float) -> SpecPTRecipe:
    settings = SpecPTOptim(
        steps=60, pretrain_steps=30, batch_size=16, learning_rate=3e-3, warmup_steps=5,
        bfloat16=False, **changes,
    )  # fmt: skip
    return SpecPTRecipe("tiny", "0.0.1", preprocessing=GRID, network=TINY, training=settings)


def test_targets_are_the_spectra_without_noise() -> None:
    batch = makers(galaxy_share=0.5, no_noise_share=0.5).make(24, np.random.default_rng(0))
    assert batch.input.shape == (24, CHANNELS, 256)
    assert batch.target.shape == batch.variance.shape == (24, 256)
    assert (batch.family == 0).sum() >= 12
    weight = batch.weight(0.2)
    valid = weight > 0
    assert weight.max() <= 25.001
    assert not weight[~np.isfinite(batch.variance)].any()
    # The input scatters about the target, with the noise that the weights know (the floor aside).
    source = batch.family < len(FAMILIES)
    pull = ((batch.input[:, 0] - batch.target) * np.sqrt(weight))[source][valid[source]]
    assert 0.2 < np.median(np.abs(pull)) < 1.2
    unknown = ~batch.input[:, 3].any(axis=1)
    assert 4 <= unknown.sum() <= 20


def test_training_learns_and_resumes(tmp_path: Path) -> None:
    maker = makers()
    whole = SpecPTRun(recipe(), tmp_path / "whole", torch.device("cpu"))
    half = SpecPTRun(recipe(), tmp_path / "half", torch.device("cpu"))
    for folder in (whole.folder, half.folder):
        folder.mkdir()
    losses = []
    for step in range(60):
        batch = maker.make(16, np.random.default_rng(step))
        losses.append(whole.update(batch))
        if step < 40:
            half.update(batch)
    assert set(losses[0]) == {"learning_rate", "loss", "reconstruction_loss"}
    assert {"class_loss", "redshift_loss"} <= set(losses[-1])
    before = np.mean([row["reconstruction_loss"] for row in losses[:5]])
    assert np.mean([row["reconstruction_loss"] for row in losses[-5:]]) < 0.8 * before
    # Killed after 40 steps, and started again from its checkpoint.
    half.save()
    again = SpecPTRun(recipe(), half.folder, torch.device("cpu"))
    assert again.step == 40
    for step in range(40, 60):
        again.update(maker.make(16, np.random.default_rng(step)))
    for one, other in zip(
        whole.average.state_dict().values(), again.average.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)
    found = scores(again, [maker.make(16, np.random.default_rng(99))])
    assert {"hidden", "shown", "untouched", "family", "nmad_galaxy", "outliers_qso"} <= set(found)


def test_the_last_steps_ask_more_of_bright_lines(tmp_path: Path) -> None:
    plain, polished = (
        SpecPTRun(one, tmp_path, torch.device("cpu")) for one in (recipe(), recipe(polish_steps=10))
    )
    # The same schedule as of so many steps less, and then once more a cosine.
    plain.step = polished.step = 40
    assert polished.rate() < plain.rate()
    polished.step = 50
    assert polished.polishing
    assert polished.rate() == pytest.approx(4e-4)
    polished.step = 59
    assert polished.rate() < 4e-5
    row = polished.update(makers().make(16, np.random.default_rng(0)))
    assert np.isfinite(row["loss"])


def test_the_published_shape_is_trained_by_the_same_command(tmp_path: Path) -> None:
    one = replace(recipe(), network=PUBLISHED)
    run = SpecPTRun(one, tmp_path, torch.device("cpu"))
    run.step = 30
    row = run.update(makers().make(16, np.random.default_rng(0)))
    assert np.isfinite(row["redshift_loss"])
    with pytest.raises(ValueError, match="distribution"):
        _ = one.redshift_bins


@pytest.mark.parametrize("name", ["specpt", "specpt-base", "specpt-published"])
def test_recipes_are_read(name: str) -> None:
    read = read_specpt_recipe(ROOT / "training" / "configs" / f"{name}.toml")
    assert read.training.pretrain_steps < read.training.steps
    assert read.network.n_pixels == read.preprocessing.n_pixels


def test_recipes_with_mistakes_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "training" / "configs" / "specpt.toml").read_text()
    for wrong, words in (
        (text + "\n[nonsense]\n", "unknown tables"),
        (text.replace("pretrain_steps", "pretrian_steps"), "unknown keys"),
        (text.replace('"specpt"\n\n[training]', '"other"\n\n[training]'), "architecture"),
        (text.replace("hidden_share = 0.4", "hidden_share = 1.4"), "hidden_share"),
    ):
        path = tmp_path / "recipe.toml"
        path.write_text(wrong)
        with pytest.raises(SystemExit, match=words):
            read_specpt_recipe(path)


def test_learning_curves_are_drawn(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    for step in (50, 100, 150):
        row = {"step": step, "seconds": step, "loss": 1.0, "reconstruction_loss": 10.0 / step}
        write_log(log, LOG_FIELDS, row | ({"nmad_galaxy": 0.001} if step > 100 else {}))
    # Killed and started again: the steps since the checkpoint are there twice.
    write_log(log, LOG_FIELDS, {"step": 100, "seconds": 100, "loss": 0.5})
    rows = read_log(log)
    assert [row["step"] for row in rows] == ["50", "100", "150"]
    assert rows[1]["loss"] == "0.5"
    draw_curves(log, tmp_path / "curves.png", 100)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

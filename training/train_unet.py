"""``python -m training.train_unet CONFIG``: the U-Net that denoises spectra, resumably."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from torch import Tensor

from specinfer.preprocess import Preprocessing, prepare, resample
from specinfer.reconstruction import spread_of
from training.architectures.eigen import UNet
from training.archive.sdss import part_of, read_sdss
from training.paths import ROOT, shared_data
from training.run import claim
from training.simulate.axis import WAVELENGTH
from training.simulate.donors import Donors
from training.simulate.survey import SurveyBatch, SurveySimulator
from training.stream import TRAIN, VALIDATION, step_rng
from training.train import write_log
from training.train_eigen import CHECKPOINT, read_eigen_recipe, read_libraries

app = typer.Typer(add_completion=False)
LOG_FIELDS = ("step", "seconds", "loss", "validation", "untouched")


def pair_of(batch: SurveyBatch, grid: Preprocessing) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees, what it should say, and the weights of the pixels.

    The target is the noiseless flux, normalised as the noisy one was: against the noisy one
    a network with skip connections would learn to change nothing.
    """
    made = prepare(WAVELENGTH, batch.flux.astype(np.float64), batch.ivar.astype(np.float64), grid)
    shape = batch.shape.astype(np.float64)
    clean = resample(WAVELENGTH, shape, np.ones_like(shape), grid.edges).flux
    valid = made.valid & (made.continuum != 0)
    spread = spread_of(made)
    continuum = np.where(valid, made.continuum, 1.0)
    target = np.where(valid, (clean / continuum - 1.0) / spread, 0.0)
    weight = np.where(valid, made.ivar * (continuum * spread) ** 2, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    weight = weight / np.where(total > 0, total, 1.0)
    tensors = (made.input, target, weight)
    seen, wanted, weights = (torch.from_numpy(x.astype(np.float32)) for x in tensors)
    return seen, wanted.clamp(-30.0, 30.0), weights


def misfit(guess: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean square, the mean over spectra."""
    return (weight * (guess - target) ** 2).sum(dim=1).mean()


@app.command()
def main(
    config: Annotated[Path, typer.Argument(help="e.g. training/configs/gasnet3-unet.toml")],
    output: Annotated[Path | None, typer.Option(help="Run folder (default runs/NAME).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
) -> None:
    """Train the U-Net; run the same command again to resume.

    Example: python -m training.train_unet training/configs/gasnet3-unet.toml
    """
    recipe = read_eigen_recipe(config, "unet")
    folder = output or ROOT / "runs" / recipe.name
    claim(folder, recipe.text)
    torch.set_num_threads(threads)
    settings = recipe.training
    torch.manual_seed(settings.seed)
    model = UNet(recipe.network)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    step, seconds = 0, 0.0
    path = folder / CHECKPOINT
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    libraries = read_libraries()
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    simulator = SurveySimulator(libraries, donors, "train", recipe.conditions)
    unseen = SurveySimulator(libraries, donors, "validation", recipe.conditions)
    checked = unseen.draw(192, step_rng(settings.seed, VALIDATION, 0))
    started = time.monotonic() - seconds
    for number in track(range(step, settings.steps), "training", console=Console(stderr=True)):
        batch = simulator.draw(settings.batch_size, step_rng(settings.seed, TRAIN, number))
        seen, target, weight = pair_of(batch, recipe.preprocessing)
        for group in optimizer.param_groups:
            share = 0.5 * (1.0 + math.cos(math.pi * number / settings.steps))
            group["lr"] = settings.learning_rate * share
        model.train()
        loss = misfit(model(seen)[0], target, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done = number + 1
        if done % 150 == 0 or done == settings.steps:
            seconds = time.monotonic() - started
            row = {"step": done, "seconds": round(seconds), "loss": f"{loss.item():.5g}"}
            write_log(
                folder / "log.csv", LOG_FIELDS, row | validate(model, checked, recipe.preprocessing)
            )
            temporary = path.with_suffix(".tmp")
            torch.save(
                {
                    "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                    "step": done, "seconds": seconds,
                },
                temporary,
            )  # fmt: skip
            temporary.replace(path)


def validate(model: UNet, batch: SurveyBatch, grid: Preprocessing) -> dict[str, str]:
    """Misfit on validation objects, and that of the spectra as they are."""
    seen, target, weight = pair_of(batch, grid)
    model.eval()
    with torch.no_grad():
        found = misfit(model(seen)[0], target, weight)
    as_it_is = misfit(seen[:, 0], target, weight)
    return {"validation": f"{float(found):.5g}", "untouched": f"{float(as_it_is):.5g}"}


if __name__ == "__main__":
    app()

"""``python -m training.train_eigen CONFIG``: eigen-spectra and their encoders, resumably."""

from __future__ import annotations

import math
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from specinfer.preprocess import Preprocessing, prepare
from specinfer.zgrid import LN_STEP
from training.architectures.eigen import EigenConfig, EigenNet, shifted
from training.archive.build_rest import FOLDER
from training.archive.rest import RestLibrary
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.config import from_table
from training.nmf import factors
from training.paths import ROOT, shared_data
from training.run import claim
from training.simulate.axis import COUNT, FIRST, WAVELENGTH
from training.simulate.donors import Donors
from training.simulate.survey import SurveyBatch, SurveyConditions, SurveySimulator
from training.stream import TRAIN, VALIDATION, step_rng
from training.train import write_log

app = typer.Typer(add_completion=False)
CHECKPOINT = "checkpoint.pt"
LOG_FIELDS = ("step", "seconds", "family", "fitted_chi2", "encoded_chi2")
# Terms of the additive polynomial that is free in every fit, as in the scan.
ADDITIVE = 4
# Beyond so many sigma a residual counts linearly: spikes, sky, telluric bands.
_HUBER = 5.0


@dataclass(frozen=True)
class EigenTraining:
    """How eigen-spectra and encoders are trained.

    Parameters
    ----------
    seed, steps, batch_size : int
        Each step sees one family.
    factor_iterations : int
        Of the non-negative factors that the eigen-spectra start from.
    learning_rate, eigen_rate : float
        Of the encoders and of the eigen-spectra, falling as a cosine.
    """

    seed: int = 1
    factor_iterations: int = 60
    steps: int = 1500
    batch_size: int = 48
    learning_rate: float = 2e-3
    eigen_rate: float = 1e-3


@dataclass(frozen=True)
class EigenRecipe:
    """Everything that makes a GaSNet-III."""

    name: str
    version: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    conditions: SurveyConditions = field(default_factory=SurveyConditions)
    network: EigenConfig = field(default_factory=EigenConfig)
    training: EigenTraining = field(default_factory=EigenTraining)
    text: str = ""


def read_eigen_recipe(path: Path, wanted: str = "eigen") -> EigenRecipe:
    """Read a recipe for the wanted architecture; an unknown key is an error.

    Raises
    ------
    SystemExit
        If a table or key is not known.
    """
    text = path.read_text()
    tables = tomllib.loads(text)
    shape = tables.pop("network", {})
    if (architecture := shape.pop("architecture", "eigen")) != wanted:
        raise SystemExit(f"{path}: the architecture is {architecture!r}, not {wanted!r}")
    recipe = EigenRecipe(
        name=tables.pop("name"),
        version=tables.pop("version"),
        preprocessing=from_table(Preprocessing, tables.pop("preprocessing", {}), "preprocessing"),
        conditions=from_table(SurveyConditions, tables.pop("conditions", {}), "conditions"),
        network=from_table(EigenConfig, shape, "network"),
        training=from_table(EigenTraining, tables.pop("training", {}), "training"),
        text=text,
    )
    if tables:
        raise SystemExit(f"{path}: unknown tables or keys {sorted(tables)}")
    return recipe


def read_libraries(folder: Path = FOLDER) -> dict[str, RestLibrary]:
    """The rest-frame libraries by family.

    Raises
    ------
    SystemExit
        If they were not built.
    """
    missing = [name for name in FAMILIES if not (folder / f"{name}.npz").is_file()]
    if missing:
        raise SystemExit(f"{folder} lacks {missing}: run `python -m training.archive.build_rest`")
    return {name: RestLibrary.load(folder / f"{name}.npz") for name in FAMILIES}


def inputs_of(batch: SurveyBatch, config: Preprocessing) -> Tensor:
    """What a network sees of simulated spectra, (batch, 3, n_pixels)."""
    made = prepare(WAVELENGTH, batch.flux.astype(np.float64), batch.ivar.astype(np.float64), config)
    return torch.from_numpy(made.input)


def scale_of(batch: SurveyBatch) -> NDArray[np.float32]:
    """Median absolute flux of the usable pixels, (batch, 1)."""
    masked = np.where(batch.ivar > 0, np.abs(batch.flux), np.nan)
    return np.maximum(np.nan_to_num(np.nanmedian(masked, axis=1)), 1e-6)[:, None].astype(np.float32)


class Problem:
    """Observed spectra of one family at known redshifts: chi2 of any coefficients.

    Parameters
    ----------
    batch : SurveyBatch
    first : int
        First pixel of the eigen-spectra.
    """

    def __init__(self, batch: SurveyBatch, first: int) -> None:
        scale = scale_of(batch)
        self.flux = torch.from_numpy(batch.flux / scale)
        self.weight = torch.from_numpy(batch.ivar * scale**2)
        self.place = torch.from_numpy(FIRST - first - np.log1p(batch.redshift) / LN_STEP)
        x = torch.linspace(-1.0, 1.0, COUNT)
        self.basis = torch.stack([x**k for k in range(ADDITIVE)])
        weighted = self.weight[:, None] * self.basis
        normal = weighted @ self.basis.T + 1e-6 * torch.eye(ADDITIVE)
        # (batch, J, n): what takes the polynomial out of anything.
        self.remove = torch.linalg.solve(normal, weighted)

    def without_polynomial(self, values: Tensor) -> Tensor:
        """Values (batch, ..., n) less their own best polynomial."""
        single = values.dim() == 2
        rows = values.unsqueeze(1) if single else values
        rows = rows - (rows @ self.remove.transpose(1, 2)) @ self.basis
        return rows.squeeze(1) if single else rows

    def reach(self, inside: Tensor) -> None:
        """Leave out the pixels that the eigen-spectra do not reach."""
        self.weight = self.weight * inside

    def chi2(self, model: Tensor) -> Tensor:
        """Mean over spectra of the reduced chi2, large residuals tamed."""
        residual = self.without_polynomial(self.flux - model).abs() * self.weight.sqrt()
        tamed = torch.where(residual < _HUBER, residual**2, 2.0 * _HUBER * residual - _HUBER**2)
        return (tamed.sum(dim=1) / (self.weight > 0).sum(dim=1).clamp(min=1)).mean()


def best_coefficients(problem: Problem, templates: Tensor, iterations: int = 60) -> Tensor:
    """Coefficients at or above zero that fit best, (batch, K).

    Accelerated projected gradients (Beck & Teboulle 2009, SIAM J. Imaging Sci. 2, 183) on
    the normal equations.
    """
    rows = problem.without_polynomial(templates)
    weighted = rows * problem.weight[:, None]
    normal = weighted @ rows.transpose(1, 2)
    right = (weighted @ problem.without_polynomial(problem.flux).unsqueeze(2)).squeeze(2)
    size = torch.diagonal(normal, dim1=1, dim2=2).sqrt().clamp(min=1e-6)
    normal = normal / size[:, :, None] / size[:, None]
    right = right / size
    step = 1.0 / torch.linalg.matrix_norm(normal, ord=2).clamp(min=1e-6)[:, None]
    x = torch.zeros_like(right)
    y, t = x, 1.0
    for _ in range(iterations):
        new = (y + step * (right - (normal @ y.unsqueeze(2)).squeeze(2))).clamp(min=0.0)
        after = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
        y, x, t = new + (t - 1.0) / after * (new - x), new, after
    return x / size


def losses(
    model: EigenNet, batch: SurveyBatch, seen: Tensor, family: str, first: int
) -> tuple[Tensor, Tensor]:
    """chi2 with the best coefficients, for the eigen-spectra; with the encoder's, for it."""
    problem = Problem(batch, first)
    spectra = model.eigenspectra(family)
    size = len(batch.flux)
    with torch.no_grad():
        templates, inside = shifted(spectra.expand(size, *spectra.shape), problem.place, COUNT)
        problem.reach(inside)
        best = best_coefficients(problem, templates)
    fitted, _ = shifted(best @ spectra, problem.place, COUNT)
    encoded = (model.encoders[family](seen)[:, :, None] * templates).sum(dim=1)
    return problem.chi2(fitted), problem.chi2(encoded)


def start(
    recipe: EigenRecipe, libraries: dict[str, RestLibrary], folder: Path
) -> dict[str, Tensor]:
    """The eigen-spectra that training begins with; made once a run."""
    path = folder / "factors.npz"
    if not path.is_file():
        made = {
            name: factors(
                libraries[name],
                libraries[name].part("train"),
                count,
                recipe.training.factor_iterations,
                recipe.training.seed,
            )[0]
            for name, count in recipe.network.n_spectra.items()
        }
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, **made)
        temporary.replace(path)
    with np.load(path) as kept:
        return {name: torch.from_numpy(kept[name]) for name in recipe.network.n_spectra}


@app.command()
def main(
    config: Annotated[Path, typer.Argument(help="e.g. training/configs/gasnet3.toml")],
    output: Annotated[Path | None, typer.Option(help="Run folder (default runs/NAME).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
) -> None:
    """Train eigen-spectra and encoders; run the same command again to resume.

    Example: python -m training.train_eigen training/configs/gasnet3.toml
    """
    recipe = read_eigen_recipe(config)
    folder = output or ROOT / "runs" / recipe.name
    claim(folder, recipe.text)
    torch.set_num_threads(threads)
    libraries = read_libraries()
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    simulator = SurveySimulator(libraries, donors, "train", recipe.conditions)
    model = EigenNet(recipe.network, start(recipe, libraries, folder))
    settings = recipe.training
    optimizer = torch.optim.Adam(
        [
            {"params": model.encoders.parameters(), "lr": settings.learning_rate},
            {"params": model.roots.parameters(), "lr": settings.eigen_rate},
        ]
    )
    step, seconds = 0, 0.0
    path = folder / CHECKPOINT
    if path.is_file():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    rates = [group["lr"] for group in optimizer.param_groups] if step == 0 else [
        settings.learning_rate, settings.eigen_rate
    ]  # fmt: skip
    names = list(recipe.network.n_spectra)
    started = time.monotonic() - seconds
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task("training", total=settings.steps, completed=step)
        while step < settings.steps:
            family = names[step % len(names)]
            batch = simulator.draw(
                settings.batch_size, step_rng(settings.seed, TRAIN, step), family
            )
            seen = inputs_of(batch, recipe.preprocessing)
            factor = 0.5 * (1.0 + math.cos(math.pi * step / settings.steps))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            fitted, encoded = losses(model, batch, seen, family, libraries[family].first)
            optimizer.zero_grad()
            (fitted + encoded).backward()
            torch.nn.utils.clip_grad_norm_(model.encoders.parameters(), 5.0)
            optimizer.step()
            step += 1
            seconds = time.monotonic() - started
            bar.update(task, completed=step, description=f"{family} chi2 {fitted.item():.3f}")
            if step % 25 == 0 or step == settings.steps:
                row: dict[str, Any] = {
                    "step": step, "seconds": round(seconds), "family": family,
                    "fitted_chi2": f"{fitted.item():.5g}", "encoded_chi2": f"{encoded.item():.5g}",
                }  # fmt: skip
                write_log(folder / "log.csv", LOG_FIELDS, row)
            if step % 150 == 0 or step == settings.steps:
                temporary = path.with_suffix(".tmp")
                torch.save(
                    {
                        "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                        "step": step, "seconds": seconds,
                    },
                    temporary,
                )  # fmt: skip
                temporary.replace(path)
    validate(model, recipe, libraries, donors, console)


def validate(
    model: EigenNet,
    recipe: EigenRecipe,
    libraries: dict[str, RestLibrary],
    donors: Donors,
    console: Console,
) -> None:
    """Print the reduced chi2 on validation objects, by family."""
    simulator = SurveySimulator(libraries, donors, "validation", recipe.conditions)
    model.eval()
    for index, family in enumerate(recipe.network.n_spectra):
        batch = simulator.draw(192, step_rng(recipe.training.seed, VALIDATION, index), family)
        seen = inputs_of(batch, recipe.preprocessing)
        with torch.no_grad():
            fitted, encoded = losses(model, batch, seen, family, libraries[family].first)
        console.print(f"{family}: chi2 {float(fitted):.3f} fitted, {float(encoded):.3f} encoded")


if __name__ == "__main__":
    app()

"""``python -m training.train_specpt CONFIG``: train a SpecPT, resumably.

First to fill in patches of spectra that are hidden from it, then for class and redshift, too.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from training.architectures import build_specpt, count_parameters, named
from training.architectures.specpt import PATCH
from training.architectures.survey import DISTANT
from training.archive.sdss import part_of, read_sdss
from training.archive.subclasses import FAMILIES
from training.learning_pictures import draw_curves
from training.losses import binned_loss, scalar_redshift_loss, soft_bins
from training.paths import ROOT, shared_data
from training.run import claim
from training.simulate.donors import Donors
from training.simulate.real import RealLight
from training.simulate.survey import SurveySimulator
from training.specpt_data import SpecPTInput, SpecPTMaker
from training.specpt_recipe import SpecPTRecipe, read_specpt_recipe
from training.stream import VALIDATION, step_rng, stream
from training.train import Run, learning_rate, write_log
from training.train_eigen import read_libraries
from training.train_survey import family_logits, subclass_loss

app = typer.Typer(add_completion=False)
LOG_FIELDS = (
    "step", "seconds", "learning_rate", "loss", "reconstruction_loss", "class_loss",
    "redshift_loss", "hidden", "shown", "untouched", "family", "nmad_galaxy", "outliers_galaxy",
    "nmad_qso", "outliers_qso",
)  # fmt: skip
# Patches are hidden in runs of one to so many.
_LONGEST = 6
# |dz| beyond which a redshift is an outlier, as SpecPT counts them.
_OUTLIER = 0.15


def hide(spectrum: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Hide runs of patches: what is hidden looks like what was not observed.

    Parameters
    ----------
    spectrum : Tensor, shape (batch, channels, n_pixels)
    share : float
        Expected share of the patches that are hidden.

    Returns
    -------
    seen : Tensor, shape (batch, channels, n_pixels)
    hidden : Tensor of bool, shape (batch, n_pixels)
    """
    batch, _, n = spectrum.shape
    patches = n // PATCH
    # A patch is hidden unless none of the runs that could reach it starts.
    mean = 0.5 * (1 + _LONGEST)
    chance = 1.0 - (1.0 - share) ** (1.0 / mean)
    starts = torch.rand(batch, patches) < chance
    length = torch.randint(1, _LONGEST + 1, (batch, patches))
    hidden = torch.zeros(batch, patches, dtype=torch.bool)
    for offset in range(_LONGEST):
        reach = starts & (length > offset)
        hidden |= F.pad(reach, (offset, 0))[:, :patches]
    pixels = hidden.repeat_interleave(PATCH, dim=1).to(spectrum.device)
    return spectrum.masked_fill(pixels[:, None], 0.0), pixels


def reconstruction_loss(
    guess: Tensor, target: Tensor, weight: Tensor, counts: Tensor | None = None
) -> Tensor:
    """Weighted mean square of each spectrum, and the mean of those that have any weight.

    `counts`, bool (batch, n_pixels), are the pixels that count; None for all.
    """
    if counts is not None:
        weight = weight * counts
    total = weight.sum(dim=1)
    each = (weight * (guess - target) ** 2).sum(dim=1) / total.clamp(min=1e-6)
    used = total > 0
    return (each * used).sum() / used.sum().clamp(min=1)


class SpecPTRun(Run):
    """A training run of a SpecPT."""

    recipe: SpecPTRecipe  # type: ignore[assignment]

    def __init__(self, recipe: SpecPTRecipe, folder: Path, device: torch.device) -> None:
        super().__init__(recipe, folder, device, build=build_specpt)  # type: ignore[arg-type]

    @property
    def pretraining(self) -> bool:
        """Whether this step is one of the reconstruction alone."""
        return self.step < self.recipe.training.pretrain_steps

    @property
    def polishing(self) -> bool:
        """Whether this step is one of the last, which ask more of bright lines."""
        config = self.recipe.training
        return self.step >= config.steps - config.polish_steps

    def rate(self) -> float:
        """Warm-up and a cosine to zero; once more a cosine for the last steps."""
        config = self.recipe.training
        main_steps = config.steps - config.polish_steps
        if self.polishing:
            part = (self.step - main_steps) / config.polish_steps
            return 0.5 * config.polish_rate * (1.0 + math.cos(math.pi * part))
        whole = replace(self.recipe, training=replace(config, steps=main_steps, polish_steps=0))
        return learning_rate(self.step, whole)  # type: ignore[arg-type]

    def losses(self, batch: SpecPTInput) -> tuple[Tensor, dict[str, float]]:  # type: ignore[override]
        """The total loss of a batch, and its parts."""
        config = self.recipe.training
        spectrum = torch.from_numpy(batch.input).to(self.device)
        share = config.hidden_share if self.pretraining else config.hidden_later
        seen, hidden = hide(spectrum, share)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=config.bfloat16 and self.model.training
        ):
            if self.pretraining:
                answer = {"reconstruction": self.model.reconstruct(seen)}
            else:
                answer = named(self.model, self.model(seen))
        floor = config.polish_floor if self.polishing else config.floor
        arrays = (batch.target, batch.weight(floor))
        target, weight = (torch.from_numpy(x).to(self.device) for x in arrays)
        # What a real spectrum shows has noise that must not be learned by heart.
        counts = hidden | ~torch.from_numpy(batch.real).to(self.device)[:, None]
        parts = {
            "reconstruction_loss": reconstruction_loss(
                answer["reconstruction"].float(), target, weight, counts
            )
        }
        total = parts["reconstruction_loss"]
        if self.pretraining:
            return total, {name: float(value.detach()) for name, value in parts.items()}
        total = total * (config.polish_weight if self.polishing else config.reconstruction_weight)
        family = torch.from_numpy(batch.family).to(self.device)
        if "class_logits" in answer:
            parts["class_loss"] = subclass_loss(
                answer["class_logits"].float(),
                torch.from_numpy(batch.subclass).to(self.device),
                family,
                config.label_smoothing,
            )
            total = total + parts["class_loss"]
        parts["redshift_loss"] = self._redshift_loss(answer, batch, family)
        total = total + config.redshift_weight * parts["redshift_loss"]
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def _redshift_loss(
        self, answer: dict[str, Tensor], batch: SpecPTInput, family: Tensor
    ) -> Tensor:
        log1z = torch.from_numpy(np.log1p(np.nan_to_num(batch.redshift)).astype(np.float32))
        if "redshift" in answer:
            return scalar_redshift_loss(answer["redshift"].float(), log1z.to(self.device))
        bins, sigma = self.recipe.redshift_bins, self.recipe.training.redshift_sigma_bins
        target = soft_bins(log1z, bins, sigma).to(self.device)
        if "redshift_logits" in answer:
            use = family < len(DISTANT)
            return binned_loss(answer["redshift_logits"].float(), target, use)
        losses = [
            binned_loss(
                answer[f"{name.lower()}_redshift_logits"].float(),
                target,
                family == list(FAMILIES).index(name),
            )
            for name in DISTANT
        ]
        return torch.stack(losses).mean()

    def update(self, batch: SpecPTInput) -> dict[str, float]:  # type: ignore[override]
        """One optimiser step; the average forgets what it was before its heads were trained."""
        if self.step == self.recipe.training.pretrain_steps:
            self.average.load_state_dict(self.model.state_dict())
        return super().update(batch)  # type: ignore[arg-type]


def scores(run: SpecPTRun, batches: list[SpecPTInput]) -> dict[str, float]:
    """Scores of the averaged network on validation spectra.

    Misfits of patches that were hidden and of what was shown, and those of the spectra as they
    are; families; normalised median absolute deviation and outliers of the redshifts.
    """
    run.average.eval()
    misfits: dict[str, list[float]] = {"hidden": [], "shown": [], "untouched": []}
    right: list[NDArray[np.bool_]] = []
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in DISTANT}
    for number, batch in enumerate(batches):
        spectrum = torch.from_numpy(batch.input)
        target = torch.from_numpy(batch.target)
        weight = torch.from_numpy(batch.weight(run.recipe.training.floor))
        torch.manual_seed(number)
        seen, hidden = hide(spectrum, 0.4)
        with torch.no_grad():
            filled = run.average.reconstruct(seen)
            answer = named(run.average, run.average(spectrum))
        shown = answer["reconstruction"]
        misfits["hidden"].append(float(reconstruction_loss(filled, target, weight, hidden)))
        misfits["shown"].append(float(reconstruction_loss(shown, target, weight)))
        misfits["untouched"].append(float(reconstruction_loss(spectrum[:, 0], target, weight)))
        if run.pretraining:
            continue
        if "class_logits" in answer:
            logits = family_logits(answer["class_logits"])
            right.append(logits.argmax(dim=1).numpy() == batch.family)
        for name in DISTANT:
            mine = batch.family == list(FAMILIES).index(name)
            key = f"{name.lower()}_redshift_logits"
            key = key if key in answer else "redshift_logits"
            if key in answer:
                centres = run.recipe.redshift_bins.centres
                guess = np.expm1(centres[answer[key].argmax(dim=1).numpy()][mine])
            else:
                guess = answer["redshift"][:, 0].numpy()[mine].astype(np.float64)
            truth = batch.redshift[mine]
            found[name].append((guess - truth) / (1.0 + truth))
    made = {name: float(np.mean(values)) for name, values in misfits.items()}
    if right:
        made["family"] = float(np.concatenate(right).mean())
    for name, parts in found.items():
        if parts:
            dz = np.concatenate(parts)
            made[f"nmad_{name.lower()}"] = float(1.4826 * np.median(np.abs(dz - np.median(dz))))
            made[f"outliers_{name.lower()}"] = float((np.abs(dz) > _OUTLIER).mean())
    return made


def makers_of(recipe: SpecPTRecipe) -> dict[str, SpecPTMaker]:
    """The makers of training and validation batches."""
    libraries = read_libraries()
    shown = part_of(read_sdss(shared_data()), "train")
    donors = Donors(shown)
    settings = recipe.training
    light = RealLight(shown, recipe.conditions, recipe.real) if recipe.real.share > 0 else None
    return {
        part: SpecPTMaker(
            SurveySimulator(libraries, donors, part, recipe.conditions),
            recipe.preprocessing,
            light if part == "train" else None,
            settings.galaxy_share,
            settings.no_noise_share if part == "train" else 0.0,
        )
        for part in ("train", "validation")
    }


@app.command()
def main(
    config: Annotated[Path, typer.Argument(help="e.g. training/configs/specpt.toml")],
    output: Annotated[Path | None, typer.Option(help="Run folder (default runs/NAME).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
    stop_after: Annotated[
        float | None, typer.Option(help="Stop (resumably) after this many minutes.")
    ] = None,
) -> None:
    """Train a SpecPT; run the same command again to resume.

    Example: python -m training.train_specpt training/configs/specpt.toml
    """
    recipe = read_specpt_recipe(config)
    folder = output or ROOT / "runs" / config.stem
    claim(folder, recipe.text)
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console = Console(stderr=True)
    makers = makers_of(recipe)
    settings = recipe.training
    run = SpecPTRun(recipe, folder, device)
    size = settings.batch_size
    validation = [
        makers["validation"].make(size, step_rng(settings.seed, VALIDATION, i))
        for i in range(math.ceil(settings.validation_size / size))
    ]
    console.print(
        f"{recipe.name} {recipe.version}: {count_parameters(run.model):,} parameters on {device}, "
        f"step {run.step} of {settings.steps}, the first {settings.pretrain_steps} for the "
        "reconstruction alone"
    )
    started = time.monotonic() - run.seconds
    session = time.monotonic()
    log = folder / "log.csv"
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task("training", total=settings.steps, completed=run.step)
        for batch in stream(makers["train"], size, settings.seed, run.step, settings.steps):
            row: dict[str, Any] = run.update(batch)  # type: ignore[arg-type]
            run.seconds = time.monotonic() - started
            bar.update(task, completed=run.step, description=f"loss {row['loss']:.3f}")
            last = run.step == settings.steps
            due = stop_after is not None and time.monotonic() - session > 60 * stop_after
            if run.step % settings.validate_every == 0 or last:
                row |= scores(run, validation)
                shown = ", ".join(f"{k} {row[k]:.4f}" for k in LOG_FIELDS[7:] if k in row)
                console.print(f"step {run.step}: {shown}")
            if run.step % 50 == 0 or last or due:
                write_log(log, LOG_FIELDS, {"step": run.step, "seconds": run.seconds, **row})
            if run.step % 250 == 0 or last or due:
                run.save()
                draw_curves(log, folder / "curves.png", settings.pretrain_steps)
            if due:
                console.print(f"stopped at step {run.step}; run the command again to resume")
                break


if __name__ == "__main__":
    app()

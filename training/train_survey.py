"""``python -m training.train_survey CONFIG``: train a survey network, resumably."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
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

from specinfer.preprocess import Preprocessing, prepare
from training.architectures import build_survey, count_parameters, named
from training.architectures.survey import DISTANT
from training.archive.sdss import SdssSpectrum, part_of, read_sdss
from training.archive.subclasses import FAMILIES, NO_SIGNAL, SUBCLASSES
from training.losses import binned_loss, soft_bins
from training.paths import ROOT, shared_data
from training.run import CHECKPOINT, OPTIONS, claim
from training.simulate.donors import Donors
from training.simulate.real import RealLight, half_of
from training.simulate.survey import SurveyBatch, SurveySimulator
from training.stream import VALIDATION, step_rng, stream
from training.survey_recipe import SurveyRecipe, read_survey_recipe
from training.train import Run, write_log
from training.train_eigen import inputs_of, read_libraries

app = typer.Typer(add_completion=False)
LOG_FIELDS = (
    "step", "seconds", "learning_rate", "loss", "class_loss", "redshift_loss", "subclass",
    "family", "gf_galaxy", "gf_qso", "nmad_galaxy", "nmad_qso", "real_family", "real_nll",
    "real_z_nll",
)  # fmt: skip
# Subclasses of each family, and that of no signal, as columns of the class logits.
_COLUMNS = [
    [i for i, name in enumerate(SUBCLASSES) if name.startswith(f"{family} ")] for family in FAMILIES
] + [[SUBCLASSES.index(NO_SIGNAL)]]


# p(z) so near the truth, in ln(1+z), counts as right.
_NEAR = 0.003


@dataclass(frozen=True, eq=False)
class SurveyInput:
    """Prepared spectra with what is true of them; see `SurveyBatch`."""

    input: NDArray[np.float32]
    subclass: NDArray[np.int64]
    family: NDArray[np.int64]
    redshift: NDArray[np.float64]
    snr: NDArray[np.float64]

    @classmethod
    def of(cls, batch: SurveyBatch, grid: Preprocessing) -> SurveyInput:
        """Simulated spectra, prepared as the runtime prepares them."""
        seen = inputs_of(batch, grid).numpy()
        return cls(seen, batch.subclass, batch.family, batch.redshift, batch.snr)

    @classmethod
    def joined(cls, parts: Sequence[SurveyInput]) -> SurveyInput:
        """All spectra of several."""
        names = [one.name for one in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class SurveyMaker:
    """Makes batches of prepared spectra; `make` has the signature that `stream` wants.

    Parameters
    ----------
    simulator : SurveySimulator
    grid : Preprocessing
    light : RealLight, optional
        Real spectra, which make up its share of every batch.
    """

    def __init__(
        self, simulator: SurveySimulator, grid: Preprocessing, light: RealLight | None = None
    ) -> None:
        self.simulator, self.grid, self.light = simulator, grid, light

    def make(self, size: int, rng: np.random.Generator) -> SurveyInput:
        """A batch."""
        if self.light is None:
            return SurveyInput.of(self.simulator.draw(size, rng), self.grid)
        count = round(self.light.real.share * size)
        drawn = (self.simulator.draw(size - count, rng), self.light.draw(count, rng))
        return SurveyInput.joined([SurveyInput.of(one, self.grid) for one in drawn])


def start_of(recipe: SurveyRecipe) -> Path:
    """The checkpoint that a recipe starts from."""
    return ROOT / recipe.training.start / CHECKPOINT


def family_logits(logits: Tensor) -> Tensor:
    """Logits of the families and of no signal, (batch, 4), from those of the subclasses."""
    return torch.stack([logits[:, columns].logsumexp(dim=1) for columns in _COLUMNS], dim=1)


def subclass_loss(logits: Tensor, subclass: Tensor, family: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of the subclass; of the family alone where no more is known."""
    known = subclass >= 0
    fine = F.cross_entropy(
        logits, subclass.clamp(min=0), label_smoothing=smoothing, reduction="none"
    )
    coarse = F.cross_entropy(family_logits(logits), family, reduction="none")
    return torch.where(known, fine, coarse).mean()


class SurveyRun(Run):
    """A training run of a survey network; a new one may go on from the weights of another."""

    recipe: SurveyRecipe  # type: ignore[assignment]

    def __init__(self, recipe: SurveyRecipe, folder: Path, device: torch.device) -> None:
        super().__init__(recipe, folder, device, build=build_survey)  # type: ignore[arg-type]
        if recipe.training.start and not self.checkpoint.is_file():
            self._start_from(start_of(recipe))

    def _start_from(self, path: Path) -> None:
        if not path.is_file():
            raise SystemExit(
                f"{path} is not there: train first what this recipe starts from "
                f"(start = {self.recipe.training.start!r})"
            )
        weights = torch.load(path, weights_only=True, map_location=self.device)["average"]
        try:
            self.model.load_state_dict(weights)
            self.average.load_state_dict(weights)
        except RuntimeError:
            raise SystemExit(
                f"{path} holds a network of another shape than the recipe's [network]"
            ) from None

    def losses(self, batch: SurveyInput) -> tuple[Tensor, dict[str, float]]:  # type: ignore[override]
        """The total loss of a batch, and its parts."""
        config = self.recipe.training
        spectrum = torch.from_numpy(batch.input).to(self.device)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=config.bfloat16 and self.model.training
        ):
            answer = named(self.model, self.model(spectrum))
        family = torch.from_numpy(batch.family).to(self.device)
        parts = {
            "class_loss": subclass_loss(
                answer["class_logits"].float(),
                torch.from_numpy(batch.subclass).to(self.device),
                family,
                config.label_smoothing,
            )
        }
        total = parts["class_loss"]
        if "galaxy_redshift_logits" in answer:
            log1z = torch.from_numpy(np.log1p(np.nan_to_num(batch.redshift)).astype(np.float32))
            target = soft_bins(log1z, self.recipe.redshift_bins, config.redshift_sigma_bins)
            target = target.to(self.device)
            losses = [
                binned_loss(
                    answer[f"{name.lower()}_redshift_logits"].float(),
                    target,
                    family == list(FAMILIES).index(name),
                )
                for name in DISTANT
            ]
            parts["redshift_loss"] = torch.stack(losses).mean()
            total = total + config.redshift_weight * parts["redshift_loss"]
        return total, {name: float(value.detach()) for name, value in parts.items()}


def scores(run: SurveyRun, batches: list[SurveyInput]) -> dict[str, float]:
    """Scores of the averaged network on validation spectra."""
    run.average.eval()
    right, family_right, found = [], [], {name: [] for name in DISTANT}  # type: ignore[var-annotated]
    for batch in batches:
        with torch.no_grad():
            answer = named(run.average, run.average(torch.from_numpy(batch.input)))
        logits = answer["class_logits"]
        known = batch.subclass >= 0
        right.append((logits.argmax(dim=1).numpy() == batch.subclass)[known])
        family_right.append(family_logits(logits).argmax(dim=1).numpy() == batch.family)
        for name in DISTANT:
            key = f"{name.lower()}_redshift_logits"
            if key not in answer:
                continue
            mine = batch.family == list(FAMILIES).index(name)
            centres = run.recipe.redshift_bins.centres
            guess = np.expm1(centres[answer[key].argmax(dim=1).numpy()][mine])
            truth = batch.redshift[mine]
            found[name].append((guess - truth) / (1.0 + truth))
    made = {
        "subclass": float(np.concatenate(right).mean()),
        "family": float(np.concatenate(family_right).mean()),
    }
    for name, parts in found.items():
        if parts:
            dz = np.concatenate(parts)
            made[f"gf_{name.lower()}"] = float((np.abs(dz) < 0.01).mean())
            made[f"nmad_{name.lower()}"] = float(1.4826 * np.median(np.abs(dz - np.median(dz))))
    return made


def real_truth(spectra: Sequence[SdssSpectrum], grid: Preprocessing) -> SurveyInput:
    """Real spectra as they are, prepared; their subclasses are not looked at."""
    seen = [prepare(one.wavelength, one.flux, one.ivar, grid).input for one in spectra]
    return SurveyInput(
        np.stack(seen),
        np.full(len(spectra), -1),
        np.array([list(FAMILIES).index(one.family) for one in spectra]),
        np.array([one.redshift for one in spectra]),
        np.array([one.snr for one in spectra]),
    )


def real_scores(run: SurveyRun, truth: SurveyInput) -> dict[str, float]:
    """Scores of the averaged network on real spectra; few as they are, likelihoods tell more."""
    run.average.eval()
    with torch.no_grad():
        answer = named(run.average, run.average(torch.from_numpy(truth.input)))
    log_p = F.log_softmax(family_logits(answer["class_logits"]), dim=1).numpy()
    rows = np.arange(len(truth.family))
    made = {
        "real_family": float((log_p.argmax(axis=1) == truth.family).mean()),
        "real_nll": float(-log_p[rows, truth.family].mean()),
    }
    losses = []
    for name in DISTANT:
        key = f"{name.lower()}_redshift_logits"
        mine = truth.family == list(FAMILIES).index(name)
        if key in answer and mine.any():
            bins = run.recipe.redshift_bins
            p = F.softmax(answer[key].float(), dim=1).numpy()[mine]
            value = np.log1p(truth.redshift[mine])
            near = np.abs(bins.centres - value[:, None]) < _NEAR
            losses.append(-np.log(np.maximum((p * near).sum(axis=1), 1e-9)))
    if losses:
        made["real_z_nll"] = float(np.concatenate(losses).mean())
    return made


def claim_with(folder: Path, recipe: SurveyRecipe, options: dict[str, int]) -> SurveyRecipe:
    """Claim a run's folder, note what the command line changed, and change it.

    Parameters
    ----------
    folder : Path
    recipe : SurveyRecipe
    options : dict of str to int
        ``steps``, and ``left_out_half`` (see `training.simulate.real.half_of`).

    Raises
    ------
    SystemExit
        If the folder holds a run of another recipe or with other options, or there are no
        real spectra of which a half could be left out.
    """
    if "left_out_half" in options and recipe.real.share == 0:
        raise SystemExit("this recipe shows no real spectra: there is no half to leave out")
    claim(folder, recipe.text)
    if (folder / CHECKPOINT).is_file() and options_of(folder) != options:
        raise SystemExit(f"{folder} holds a run with other options; give another --output")
    (folder / OPTIONS).write_text(json.dumps(options))
    steps = options.get("steps", recipe.training.steps)
    return replace(recipe, training=replace(recipe.training, steps=steps))


def options_of(folder: Path) -> dict[str, int]:
    """What the command line changed of a run's recipe."""
    path = folder / OPTIONS
    options: dict[str, int] = json.loads(path.read_text()) if path.is_file() else {}
    return options


@app.command()
def main(
    config: Annotated[Path, typer.Argument(help="e.g. training/configs/gasnet2.toml")],
    output: Annotated[Path | None, typer.Option(help="Run folder (default runs/NAME).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
    without_half: Annotated[
        int | None,
        typer.Option(
            min=0, max=1, help="Do not show this half of the real spectra, to measure on it."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Other steps than the recipe's.")] = None,
    stop_after: Annotated[
        float | None, typer.Option(help="Stop (resumably) after this many minutes.")
    ] = None,
) -> None:
    """Train a survey network; run the same command again to resume.

    Example: python -m training.train_survey training/configs/gasnet2.toml
    """
    recipe = read_survey_recipe(config)
    suffix = "" if without_half is None else f"-without-{without_half}"
    folder = output or ROOT / "runs" / f"{config.stem}{suffix}"
    given = {"left_out_half": without_half, "steps": steps}
    options = {name: value for name, value in given.items() if value is not None}
    recipe = claim_with(folder, recipe, options)
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console = Console(stderr=True)
    libraries = read_libraries()
    spectra = read_sdss(shared_data())
    donor_spectra = part_of(spectra, "train")
    donors = Donors(donor_spectra)
    light = None
    if recipe.real.share > 0:
        shown = donor_spectra if without_half is None else half_of(donor_spectra, 1 - without_half)
        light = RealLight(shown, recipe.conditions, recipe.real)
    makers = {
        part: SurveyMaker(
            SurveySimulator(libraries, donors, part, recipe.conditions),
            recipe.preprocessing,
            light if part == "train" else None,
        )
        for part in ("train", "validation")
    }
    held_out = real_truth(part_of(spectra, "validation"), recipe.preprocessing)
    settings = recipe.training
    run = SurveyRun(recipe, folder, device)
    size = settings.batch_size
    validation = [
        makers["validation"].make(size, step_rng(settings.seed, VALIDATION, i))
        for i in range(math.ceil(settings.validation_size / size))
    ]
    console.print(
        f"{recipe.name} {recipe.version}: {count_parameters(run.model):,} parameters on {device}, "
        f"step {run.step} of {settings.steps}"
    )
    started = time.monotonic() - run.seconds
    session = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task("training", total=settings.steps, completed=run.step)
        for batch in stream(makers["train"], size, settings.seed, run.step, settings.steps):
            row: dict[str, Any] = run.update(batch)
            run.seconds = time.monotonic() - started
            bar.update(task, completed=run.step, description=f"loss {row['loss']:.3f}")
            last = run.step == settings.steps
            due = stop_after is not None and time.monotonic() - session > 60 * stop_after
            if run.step % settings.validate_every == 0 or last:
                row |= scores(run, validation) | real_scores(run, held_out)
                shown = ", ".join(f"{k} {row[k]:.4f}" for k in LOG_FIELDS[6:] if k in row)
                console.print(f"step {run.step}: {shown}")
            if run.step % 50 == 0 or last or due:
                write_log(
                    folder / "log.csv",
                    LOG_FIELDS,
                    {"step": run.step, "seconds": run.seconds, **row},
                )
            if run.step % 250 == 0 or last or due:
                run.save()
            if due:
                console.print(f"stopped at step {run.step}; run the command again to resume")
                break


if __name__ == "__main__":
    app()

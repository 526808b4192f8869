"""``python -m training.train CONFIG``: train a network, resumably."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from training.architectures import build, count_parameters, named
from training.archive.labels import CLASSES
from training.archive.library import Library
from training.config import Recipe, read_recipe, resolve
from training.evaluation.measure import quick_scores
from training.losses import (
    balanced_weights,
    binned_loss,
    class_loss,
    scalar_redshift_loss,
    share_loss,
    soft_bins,
    subtype_loss,
)
from training.paths import ROOT
from training.predict import predict
from training.run import (
    CHECKPOINT,
    OPTIONS,
    claim,
    make_batches,
    usable_rows,
    with_options,
)
from training.simulate.draw import Batch
from training.stream import VALIDATION, step_rng, stream

app = typer.Typer(add_completion=False)
LOG_FIELDS = (
    "step", "seconds", "learning_rate", "loss", "class_loss", "redshift_loss", "phase_loss",
    "subtype_loss", "host_loss", "validation_loss", "accuracy", "three_way", "balanced",
    "redshift_rms", "redshift_nmad",
)  # fmt: skip


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to zero."""
    config = recipe.training
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    part = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * min(part, 1.0)))


def class_weights(recipe: Recipe, library: Library) -> torch.Tensor | None:
    """The weights of the classes in the loss, shape (n_classes,); None for all alike."""
    if recipe.training.class_weights == "uniform":
        return None
    rows = usable_rows(recipe, library, "train")
    counts = [
        np.unique(library.object[rows[library.label[rows] == k]]).size for k in range(len(CLASSES))
    ]
    return balanced_weights(np.array(counts), recipe.training.class_weight_beta)


class Run:
    """A training run: model, averaged model, optimiser, and where they are kept.

    `weights` are those of the classes; None for all alike. `build` makes a network from the
    recipe's.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        weights: torch.Tensor | None = None,
        build: Callable[[Any], Any] = build,
    ) -> None:
        torch.manual_seed(recipe.training.seed)
        self.recipe, self.folder, self.device = recipe, folder, device
        self.weights = None if weights is None else weights.to(device)
        self.model = build(recipe.network).to(device)
        self.average = build(recipe.network).to(device)
        self.average.load_state_dict(self.model.state_dict())
        decay, plain = [], []
        for parameter in self.model.parameters():
            (decay if parameter.ndim > 1 else plain).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": recipe.training.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=recipe.training.learning_rate,
        )
        self.step = 0
        self.seconds = 0.0
        if self.checkpoint.is_file():
            state = torch.load(self.checkpoint, weights_only=True, map_location=device)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Write the checkpoint so that a kill at any moment leaves a whole one."""
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            },
            temporary,
        )
        temporary.replace(self.checkpoint)

    def losses(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The total loss of a batch, and its parts."""
        config, recipe = self.recipe.training, self.recipe
        spectrum = torch.from_numpy(batch.input).to(self.device)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=config.bfloat16 and self.model.training
        ):
            answer = named(self.model, self.model(spectrum))
        label = torch.from_numpy(batch.label).to(self.device)
        log1z = torch.from_numpy(batch.log1z.astype(np.float32))
        weights = {
            "class_loss": 1.0,
            "redshift_loss": config.redshift_weight,
            "phase_loss": config.phase_weight,
        }
        parts: dict[str, torch.Tensor] = {}
        # Networks without some of the heads are trained by the same command.
        if "class_logits" in answer:
            logits = answer["class_logits"].float()
            parts["class_loss"] = class_loss(logits, label, config, self.weights)
        if "redshift_logits" in answer:
            z_target = soft_bins(log1z, recipe.redshift_bins, config.redshift_sigma_bins)
            parts["redshift_loss"] = binned_loss(
                answer["redshift_logits"].float(), z_target.to(self.device), torch.ones_like(label)
            )
        if "redshift" in answer:
            redshift = answer["redshift"].float()
            parts["redshift_loss"] = scalar_redshift_loss(redshift, log1z.to(self.device))
        if "phase_logits" in answer:
            days = torch.from_numpy(batch.phase.astype(np.float32))
            known = torch.isfinite(days)
            p_target = soft_bins(torch.nan_to_num(days), recipe.phase_bins, config.phase_sigma_bins)
            parts["phase_loss"] = binned_loss(
                answer["phase_logits"].float(), p_target.to(self.device), known.to(self.device)
            )
        if "subtype_logits" in answer:
            subtype = torch.from_numpy(batch.subtype).to(self.device)
            parts["subtype_loss"] = subtype_loss(answer["subtype_logits"].float(), subtype)
            weights["subtype_loss"] = config.subtype_weight
        if "host_logit" in answer:
            share = torch.from_numpy(batch.host.astype(np.float32)).to(self.device)
            parts["host_loss"] = share_loss(answer["host_logit"].float(), share)
            weights["host_loss"] = config.host_weight
        total = torch.stack([weights[name] * value for name, value in parts.items()]).sum()
        return total, {name: float(value.detach()) for name, value in parts.items()}

    def rate(self) -> float:
        """The learning rate of this step."""
        return learning_rate(self.step, self.recipe)

    def update(self, batch: Batch) -> dict[str, float]:
        """One optimiser step."""
        config = self.recipe.training
        # Dropout's masks belong to the step, whether training was resumed or not.
        torch.manual_seed(
            int(np.random.SeedSequence([config.seed, self.step]).generate_state(1)[0])
        )
        self.model.train()
        rate = self.rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total, parts = self.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_clip)
        self.optimizer.step()
        # A short memory at first: the average must forget the random start.
        decay = min(config.ema_decay, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for mean, value in zip(
                self.average.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1.0 - decay)
                else:
                    mean.copy_(value)
        self.step += 1
        return {"learning_rate": rate, "loss": float(total.detach()), **parts}


def validation_batches(recipe: Recipe, library: Library) -> list[Batch]:
    """A fixed set of simulated spectra of validation objects."""
    maker = make_batches(recipe, library, "validation")
    size = recipe.training.batch_size
    count = math.ceil(recipe.training.validation_size / size)
    return [maker.make(size, step_rng(recipe.training.seed, VALIDATION, i)) for i in range(count)]


def validate(run: Run, batches: list[Batch]) -> dict[str, float]:
    """Scores of the averaged model on the validation batches."""
    answer = predict(run.average, batches, run.device)
    return quick_scores(answer, batches, run.recipe)


def _summary(row: dict[str, Any]) -> str:
    """The validation scores of a row in a line; a network may lack some of them."""
    shown = {
        "three_way": "three-way {:.3f}", "balanced": "balanced {:.3f}",
        "redshift_rms": "z rms {:.4f}", "redshift_nmad": "nmad {:.4f}",
        "validation_loss": "loss {:.3f}",
    }  # fmt: skip
    return ", ".join(text.format(row[name]) for name, text in shown.items() if name in row)


def write_log(path: Path, fields: Sequence[str], row: dict[str, Any]) -> None:
    """Add a row to a log; what is not among the fields is left out."""
    new = not path.is_file()
    with path.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, fields, restval="", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


@app.command()
def main(
    config: Annotated[
        Path, typer.Argument(help="The recipe, e.g. training/configs/spectranet.toml")
    ],
    output: Annotated[Path | None, typer.Option(help="Run folder (default runs/NAME).")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of PyTorch.")] = 2,
    seed: Annotated[int | None, typer.Option(help="Another seed than the recipe's.")] = None,
    steps: Annotated[int | None, typer.Option(help="Other steps than the recipe's.")] = None,
    left_out: Annotated[
        list[str] | None, typer.Option(help="A class that is not shown (may be repeated).")
    ] = None,
    object_share: Annotated[
        float | None, typer.Option(help="Share of the training objects that is used.")
    ] = None,
    stop_after: Annotated[
        float | None, typer.Option(help="Stop (resumably) after this many minutes.")
    ] = None,
) -> None:
    """Train a network; run the same command again to resume after an interruption.

    Example: python -m training.train training/configs/spectranet.toml
    """
    recipe = read_recipe(config)
    given = {
        "seed": seed, "steps": steps, "left_out": left_out, "object_share": object_share
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None and value != []}
    try:
        recipe = with_options(recipe, options)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    folder = output or ROOT / "runs" / recipe.name
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console = Console(stderr=True)
    library_path = resolve(recipe.data.library)
    if not library_path.is_file():
        raise SystemExit(f"{library_path} is not there: run `python -m training.archive` first")
    library = Library.load(library_path)
    claim(folder, recipe.text)
    kept_options = folder / OPTIONS
    if kept_options.is_file() and json.loads(kept_options.read_text()) != options:
        raise SystemExit(f"{folder} holds a run with other options; give another --output")
    kept_options.write_text(json.dumps(options))

    run = Run(recipe, folder, device, class_weights(recipe, library))
    validation = validation_batches(recipe, library)
    maker = make_batches(recipe, library, "train")
    console.print(
        f"{recipe.name} {recipe.version}: {count_parameters(run.model):,} parameters on {device}, "
        f"step {run.step} of {recipe.training.steps}, "
        f"settings {asdict(recipe.training)}"
    )
    last_step = recipe.training.steps
    started = time.monotonic() - run.seconds
    session = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task("training", total=last_step, completed=run.step)
        batches = stream(
            maker, recipe.training.batch_size, recipe.training.seed, run.step, last_step
        )
        for batch in batches:
            row: dict[str, Any] = run.update(batch)
            run.seconds = time.monotonic() - started
            bar.update(task, completed=run.step, description=f"loss {row['loss']:.3f}")
            last = run.step == last_step
            due = stop_after is not None and time.monotonic() - session > 60 * stop_after
            if run.step % recipe.training.validate_every == 0 or last:
                row |= validate(run, validation)
                console.print(f"step {run.step}: {_summary(row)}")
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

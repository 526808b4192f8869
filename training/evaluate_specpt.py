"""``python -m training.evaluate_specpt FOLDER``: what SpecPT is for, through the runtime.

The figures of every survey model (`training.evaluate_survey`), and: redshifts of DESI-like
galaxies as SpecPT counts them, the denoised spectra (misfit, sky, lines), and line fluxes.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from specinfer.classifier import Classifier
from specinfer.line_fluxes import Denoised, measure_fluxes
from specinfer.networks.specpt import misfit
from specinfer.networks.specpt_answer import SpecPTAnswer
from specinfer.preprocess import resample
from specinfer.result import Classification
from specinfer.spectrum import Spectrum
from training.archive.sdss import part_of, read_sdss
from training.archive.split import PARTS
from training.archive.subclasses import FAMILIES
from training.card import commit, follow, read_card, write_card
from training.evaluate_survey import (
    REDSHIFT_EDGES,
    classify,
    columns,
    evaluate,
    real_spectra,
    simulated_spectra,
    take,
    words,
    write_confusion,
)
from training.evaluation.intervals import Resampler
from training.evaluation.survey_readme import write_survey_readme
from training.paths import shared_data
from training.simulate.desi_like import SAMPLES, DesiLike
from training.simulate.donors import Donors
from training.simulate.survey import WAVELENGTH, SurveyBatch, SurveyConditions, SurveySimulator
from training.stream import TEST, VALIDATION, step_rng
from training.train_eigen import read_libraries

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]
# |dz| of an outlier: SpecPT's, and DESI's.
OUTLIERS = (0.15, 0.0033)
_SNR_EDGES = (0.0, 1.5, 3.0, 6.0, 12.0, 1e9)
# Line fluxes are compared where the ratio is about ten, and those of denoised spectra above.
_ABOUT_TEN = (8.0, 12.5)
_CLEAR = 10.0
# Share of the grid's pixels that count as sky lines: those where donors have most of it.
_SKY_SHARE = 0.06
# Fewer spectra than this make no row.
_FEWEST = 20
# A pixel beyond so many sigma is a defect, not noise.
_WILD = 8.0


class Answered(NamedTuple):
    """A simulated spectrum with its answer: what is true of it, on the network's grid."""

    object: str
    snr: float
    redshift: float
    result: Classification
    answer: SpecPTAnswer
    clean: FloatArray


def redshift_figures(dz: FloatArray, objects: NDArray[np.str_]) -> dict[str, Any]:
    """NMAD and outliers, with 95 % intervals over objects."""
    draws = Resampler(objects)
    every = np.ones(len(dz), dtype=np.bool_)

    def nmad(rows: NDArray[np.intp]) -> float:
        return float(1.4826 * np.median(np.abs(dz[rows] - np.median(dz[rows]))))

    return {
        "n_spectra": len(dz),
        "n_objects": draws.objects_in(every),
        "nmad": draws.of_rows(nmad, every),
        **{f"outliers_{limit}": draws.rate(np.abs(dz) > limit, every) for limit in OUTLIERS},
    }


def answered(classifier: Classifier, batch: SurveyBatch) -> list[Answered]:
    """Answers to simulated spectra, with the truth on the network's grid."""
    spectra, truths = simulated_spectra(batch)
    usable = [i for i in range(len(batch.flux)) if (batch.ivar[i] > 0).any()]
    if len(usable) != len(spectra):
        raise SystemExit("a simulated spectrum cannot be used: the seed draws an empty one")
    made = []
    for place, row in zip(usable, classify(classifier, spectra, truths), strict=True):
        answer = row.answer.answer
        assert isinstance(answer, SpecPTAnswer)
        config = classifier.network(classifier.model).config  # type: ignore[attr-defined]
        shape = batch.shape[place].astype(np.float64)
        clean = resample(WAVELENGTH, shape, np.ones_like(shape), config.edges).flux
        made.append(Answered(row.object, row.snr, row.redshift, row.answer, answer, clean))
    return made


def desi_like(classifier: Classifier, part: str, count: int, seed: int) -> dict[str, Any]:
    """Redshifts, denoised lines and line fluxes of DESI-like galaxies."""
    library = read_libraries()["GALAXY"]
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    purpose = TEST if part == "test" else VALIDATION
    made: dict[str, Any] = {}
    every: list[Answered] = []
    for number, sample in enumerate(SAMPLES):
        drawn = DesiLike(library, donors, part, sample)
        batch = drawn.draw(count, step_rng(seed, purpose, 700 + number))
        rows = answered(classifier, batch)
        every += rows
        dz = np.array([_dz(one) for one in rows])
        names = np.array([one.object for one in rows])
        snr = np.array([one.snr for one in rows])
        block = redshift_figures(dz, names)
        block["redshift"] = list(sample.redshift)
        block["oxygen_snr"] = sample.oxygen_snr
        block["snr_percentiles"] = {
            str(q): round(float(np.percentile(snr, q)), 2) for q in (5, 25, 50, 75, 95)
        }
        block["by_snr"] = [
            {"from": low, "to": high} | redshift_figures(dz[use], names[use])
            for low, high in pairwise(_SNR_EDGES)
            if (use := (snr >= low) & (snr < high)).sum() >= _FEWEST
        ]
        made[sample.name] = block
    made["lines"] = line_figures(every)
    return made


def by_class(classifier: Classifier, part: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Redshifts of simulated survey spectra by family, signal-to-noise ratio and redshift."""
    donors = Donors(part_of(read_sdss(shared_data()), "train"))
    conditions = SurveyConditions(no_signal_share=0.0, borrowed_snr=True)
    simulator = SurveySimulator(read_libraries(), donors, part, conditions)
    purpose = TEST if part == "test" else VALIDATION
    made: list[dict[str, Any]] = []
    for number, family in enumerate(FAMILIES):
        rng = step_rng(seed, purpose, 710 + number)
        batch = simulator.draw(count // len(FAMILIES), rng, family)
        table = columns(classify(classifier, *simulated_spectra(batch)))
        edges = {"snr": _SNR_EDGES, "redshift": REDSHIFT_EDGES.get(family, ())}
        for by, limits in edges.items():
            values = getattr(table, by)
            made += [
                {"family": family, "by": by, "from": low, "to": high}
                | redshift_figures(table.dz[use], table.object[use])
                for low, high in pairwise(limits)
                if (use := (values >= low) & (values < high)).sum() >= _FEWEST
            ]
    return made


def _dz(one: Answered) -> float:
    """An answer of no redshift (NO_SIGNAL) is as wrong as can be."""
    if one.result.redshift is None:
        return 1.0
    return (one.result.redshift - one.redshift) / (1.0 + one.redshift)


def line_figures(rows: list[Answered]) -> dict[str, Any]:
    """Fluxes over the true ones: of the data at a ratio of ten, of the denoised spectra above it.

    At the estimated redshift, where that is right within 0.003; the true fluxes are those of the
    spectrum without noise, measured alike.
    """
    ratios: dict[str, list[tuple[str, float]]] = {"measured": [], "denoised": []}
    by_line: dict[str, list[tuple[str, float]]] = {}
    for one in rows:
        if abs(_dz(one)) > 0.003 or one.result.redshift is None:
            continue
        prepared, grid = one.answer.prepared, one.answer.wavelength
        valid = prepared.valid & (prepared.ivar > 0)
        z, denoised = one.result.redshift, one.answer.denoised

        def on_grid(flux: FloatArray, ivar: FloatArray = prepared.ivar) -> Spectrum:
            return Spectrum(grid, flux, ivar=np.where(valid, ivar, 0.0))  # noqa: B023

        true = {
            x.name: x
            for x in measure_fluxes(on_grid(one.clean), Denoised(grid, one.clean), one.redshift)
        }
        assert one.result.spectrum is not None
        found = measure_fluxes(one.result.spectrum, denoised, z)
        smooth = {x.name: x for x in measure_fluxes(on_grid(one.answer.reconstructed), denoised, z)}
        for line in found:
            truth = true.get(line.name)
            if truth is None or truth.flux is None or line.flux is None or not truth.flux > 0:
                continue
            if _ABOUT_TEN[0] <= truth.snr <= _ABOUT_TEN[1]:
                entry = (one.object, line.flux / truth.flux)
                ratios["measured"].append(entry)
                by_line.setdefault(line.name, []).append(entry)
            other = smooth.get(line.name)
            if truth.snr >= _CLEAR and other is not None and other.flux is not None:
                ratios["denoised"].append((one.object, other.flux / truth.flux))
    made = {name: _ratio(entries) for name, entries in ratios.items()}
    made["measured"]["true_snr"] = list(_ABOUT_TEN)
    made["denoised"]["true_snr_from"] = _CLEAR
    made["by_line"] = {name: _ratio(x) for name, x in sorted(by_line.items()) if len(x) >= 20}
    return made


def _ratio(entries: list[tuple[str, float]]) -> dict[str, Any]:
    values = np.array([value for _, value in entries])
    draws = Resampler(np.array([name for name, _ in entries]))
    every = np.ones(len(values), dtype=np.bool_)
    return {
        "n_lines": len(values),
        "n_objects": draws.objects_in(every),
        "mean": draws.mean(values, every),
        "median": draws.of_rows(lambda rows: float(np.median(values[rows])), every),
    }


def reconstruction_figures(
    classifier: Classifier, part: str, count: int, seed: int
) -> dict[str, Any]:
    """Misfits of denoised spectra, and what they take over of noise and of the sky's."""
    spectra = read_sdss(shared_data())
    donors = Donors(part_of(spectra, "train"))
    # More sky than usual, so that what is taken over of it shows.
    conditions = SurveyConditions(no_signal_share=0.0, spikes=0.0, sky=1.5, cut_share=0.0)
    simulator = SurveySimulator(read_libraries(), donors, part, conditions)
    purpose = TEST if part == "test" else VALIDATION
    rows = answered(classifier, simulator.draw(count, step_rng(seed, purpose, 720)))
    config = classifier.network(classifier.model).config  # type: ignore[attr-defined]
    sky = resample(WAVELENGTH, donors.sky.mean(axis=0), np.ones(len(WAVELENGTH)), config.edges).flux
    lines = sky >= np.quantile(sky, 1.0 - _SKY_SHARE)
    sums = {place: np.zeros((len(rows), 4)) for place in ("sky", "elsewhere")}
    misfits, floors = np.zeros(len(rows)), np.zeros(len(rows))
    for number, one in enumerate(rows):
        prepared = one.answer.prepared
        weight = np.where(prepared.valid, prepared.ivar, 0.0)
        misfits[number] = misfit(prepared.flux, weight, one.answer.reconstructed)
        floors[number] = misfit(prepared.flux, weight, one.clean)
        noise = (prepared.flux - one.clean) * np.sqrt(weight)
        error = (one.answer.reconstructed - one.clean) * np.sqrt(weight)
        use = (weight > 0) & (np.abs(noise) < _WILD)
        for place, here in (("sky", use & lines), ("elsewhere", use & ~lines)):
            n, e = noise[here], np.clip(error[here], -_WILD, _WILD)
            sums[place][number] = len(n), (n * n).sum(), (e * e).sum(), (e * n).sum()
    draws = Resampler(np.array([one.object for one in rows]))
    snr = np.array([one.snr for one in rows])
    every = np.ones(len(rows), dtype=np.bool_)

    def share(place: str) -> Any:
        return draws.of_sums(lambda s: s[:, 3] / s[:, 1], sums[place])

    def power(place: str, column: int) -> Any:
        return draws.of_sums(lambda s: s[:, column] / s[:, 0], sums[place])

    def median(values: FloatArray, use: NDArray[np.bool_]) -> Any:
        return draws.of_rows(lambda rows: float(np.median(values[rows])), use)

    return {
        "n_spectra": len(rows),
        "n_objects": draws.objects_in(every),
        "misfit": median(misfits, every),
        "misfit_of_truth": median(floors, every),
        "by_snr": [
            {
                "from": low, "to": high, "n_spectra": int(use.sum()),
                "misfit": median(misfits, use), "misfit_of_truth": median(floors, use),
            }
            for low, high in pairwise(_SNR_EDGES)
            if (use := (snr >= low) & (snr < high)).any()
        ],
        "sky": {
            "pixels": int(lines.sum()),
            **{
                place: {
                    "noise_power": power(place, 1),
                    "error_power": power(place, 2),
                    "share_of_noise_kept": share(place),
                }
                for place in sums
            },
        },
    }  # fmt: skip


def real_figures(classifier: Classifier, part: str) -> dict[str, Any]:
    """Redshifts of real SDSS spectra with one another's measures: galaxies, quasars, both."""
    table = columns(classify(classifier, *real_spectra(part, shared_data(), None)))
    made = {}
    for name, families in (
        ("GALAXY", ("GALAXY",)), ("QSO", ("QSO",)), ("both", ("GALAXY", "QSO")),
    ):  # fmt: skip
        some = take(table, np.isin(table.family, families))
        made[name] = redshift_figures(some.dz, some.object)
    return made


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="A model folder, e.g. exported_models/specpt.")],
    part: Annotated[str, typer.Option(help="validation, or test: once a release.")] = "validation",
    beside: Annotated[
        Path | None, typer.Option(help="Another model, for its redshifts of real spectra.")
    ] = Path("exported_models/gasnet2"),
    count: Annotated[int, typer.Option(help="Simulated spectra of all families.")] = 1800,
    galaxies: Annotated[int, typer.Option(help="DESI-like spectra of each kind.")] = 1500,
    noise_count: Annotated[int, typer.Option(help="Spectra without a source.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 11,
    write: Annotated[bool, typer.Option("--write", help="Write them into the card.")] = False,
) -> None:
    """Measure a SpecPT on real and simulated spectra.

    Example: python -m training.evaluate_specpt exported_models/specpt --part validation
    """
    if part not in PARTS[1:]:
        raise SystemExit(f"--part {part}: validation or test")
    classifier = Classifier(f"{folder}/", device="cpu")
    console = Console()
    special: dict[str, Any] = {
        "commit": commit(), "count": count, "galaxies": galaxies, "seed": seed,
        "real": real_figures(classifier, part),
    }  # fmt: skip
    if beside is not None:
        other = Classifier(f"{beside}/", device="cpu")
        label = other.network(other.model).card.label
        special["real_beside"] = {label: real_figures(other, part)}
    special["by_class"] = by_class(classifier, part, count, seed)
    special["desi_like"] = desi_like(classifier, part, galaxies, seed)
    special["reconstruction"] = reconstruction_figures(classifier, part, count // 2, seed)
    console.print_json(data=special)
    made = evaluate(classifier, part, count, noise_count, seed)
    for line in words(made):
        console.print(line, soft_wrap=True, highlight=False)
    if write:
        card = read_card(folder)
        kept = made | {"count": count, "seed": seed, "specpt": special}
        card["metrics"] = {**card.get("metrics", {}), part: kept}
        write_confusion(folder, part, made["subclasses"])
        before = card["sha256"]
        write_card(folder, card)
        follow(folder, before)
        write_survey_readme(folder)


if __name__ == "__main__":
    app()

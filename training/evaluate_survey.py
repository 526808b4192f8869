"""``python -m training.evaluate_survey FOLDER``: a survey model's figures, through the runtime.

On the real SDSS/BOSS spectra of one part, whole and with 4500-7500 Angstrom alone; on simulated
spectra of the same part by family, signal-to-noise ratio and redshift; and on noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from specinfer.classifier import Classifier
from specinfer.errors import ReadError
from specinfer.result import Classification
from specinfer.spectrum import Spectrum
from training.archive.rest import RestLibrary
from training.archive.sdss import SdssSpectrum, part_of, read_sdss
from training.archive.split import PARTS
from training.archive.subclasses import FAMILIES, PUBLISHED, SUBCLASSES
from training.card import commit, follow, read_card, write_card
from training.evaluation.intervals import Figure, Resampler, divide
from training.evaluation.pictures import confusion_figure
from training.evaluation.survey_readme import write_survey_readme
from training.paths import shared_data
from training.simulate.axis import WAVELENGTH
from training.simulate.donors import Donors
from training.simulate.survey import SurveyBatch, SurveyConditions, SurveySimulator
from training.stream import TEST, VALIDATION, step_rng
from training.train_eigen import read_libraries

app = typer.Typer(add_completion=False)
FloatArray = NDArray[np.float64]
NARROW = (4500.0, 7500.0)
# What counts as the right redshift, by family: GF(0.003), GF(0.01), |dz| < 0.001.
GOOD = {"GALAXY": 0.003, "QSO": 0.01, "STAR": 0.001}
OUTLIER = 0.01
SNR_EDGES = (0.0, 1.5, 3.0, 6.0, 12.0, 1e9)
REDSHIFT_EDGES = {"GALAXY": (0.0, 0.3, 0.7, 1.7), "QSO": (0.0, 1.0, 2.0, 3.0, 5.0)}
_CHUNK = 32


# Object, family, redshift and signal-to-noise ratio.
Truth = tuple[str, str, float, float]


class Row(NamedTuple):
    """What is true of a spectrum, and the answer."""

    object: str
    family: str
    redshift: float
    snr: float
    answer: Classification


def classify(
    classifier: Classifier,
    spectra: Sequence[Spectrum],
    truths: Sequence[Truth],
) -> list[Row]:
    """Answers of the runtime; spectra that it refuses are left out."""
    rows = []
    answers = classifier.classify_many(spectra, batch_size=_CHUNK)
    for truth, answer in track(
        zip(truths, answers, strict=True), description="spectra", total=len(truths)
    ):
        if answer.ok:
            rows.append(Row(*truth, answer))
    return rows


def real_spectra(
    part: str, data: Path, window: tuple[float, float] | None
) -> tuple[list[Spectrum], list[Truth]]:
    """The real spectra of a part, with what the SDSS pipeline says of them, if it is sure."""
    spectra, truths = [], []
    for one in part_of(read_sdss(data), part):
        made = as_spectrum(one, window)
        if made is not None and one.zwarning == 0:
            spectra.append(made)
            truths.append((one.object, one.family, one.redshift, one.snr))
    return spectra, truths


def as_spectrum(one: SdssSpectrum, window: tuple[float, float] | None) -> Spectrum | None:
    """A real spectrum as the runtime takes it; None if nothing is left of it."""
    ivar = one.ivar
    if window is not None:
        inside = (one.wavelength >= window[0]) & (one.wavelength <= window[1])
        ivar = np.where(inside, ivar, 0.0)
    try:
        return Spectrum(one.wavelength, one.flux, ivar=ivar, resolution=2000.0)
    except ReadError:
        return None


def simulated_spectra(batch: SurveyBatch) -> tuple[list[Spectrum], list[Truth]]:
    """Simulated spectra as the runtime takes them."""
    names = [*FAMILIES, "NO_SIGNAL"]
    spectra, truths = [], []
    for i in range(len(batch.flux)):
        try:
            one = Spectrum(
                WAVELENGTH, batch.flux[i].astype(np.float64), ivar=batch.ivar[i].astype(np.float64),
                resolution=2000.0,
            )  # fmt: skip
        except ReadError:
            continue
        spectra.append(one)
        family = names[batch.family[i]]
        truths.append((str(batch.object[i]), family, float(batch.redshift[i]), float(batch.snr[i])))
    return spectra, truths


class Table(NamedTuple):
    """Rows as columns."""

    object: NDArray[np.str_]
    family: NDArray[np.str_]
    redshift: FloatArray
    snr: FloatArray
    guess: NDArray[np.str_]
    dz: FloatArray
    error: FloatArray
    flagged: NDArray[np.bool_]


def columns(rows: Sequence[Row]) -> Table:
    """The columns that figures are made of."""
    answers = [row.answer for row in rows]
    redshift = np.array([row.redshift for row in rows])
    found = np.array([float(a.redshift or 0.0) for a in answers])
    error = np.array([float(a.redshift_err or np.nan) for a in answers])
    return Table(
        np.array([row.object for row in rows]),
        np.array([row.family for row in rows]),
        redshift,
        np.array([row.snr for row in rows]),
        np.array([str(a.class_name) for a in answers]),
        (found - redshift) / (1.0 + redshift),
        error / (1.0 + redshift),
        np.array([bool(a.zwarning) for a in answers]),
    )


def figures(t: Table) -> dict[str, Any]:
    """Class accuracy, good fractions, medians, pulls and outliers, with 95 % intervals."""
    draws = Resampler(t.object)
    every = np.ones(len(t.object), dtype=np.bool_)
    off = np.abs(t.dz)
    made: dict[str, Any] = {
        "n_spectra": len(every),
        "n_objects": draws.objects_in(every),
        "class_accuracy": draws.rate(t.guess == t.family, every),
        "good_redshift_0.01": draws.rate(off < 0.01, every),
        "unflagged": draws.rate(~t.flagged, every),
        "outliers_unflagged": draws.rate(off > OUTLIER, ~t.flagged),
    }
    for family in dict.fromkeys(t.family.tolist()):
        mine = t.family == family

        def median(rows: NDArray[np.intp]) -> float:
            return float(np.median(off[rows]))

        def pull(rows: NDArray[np.intp]) -> float:
            return float(1.4826 * np.median(np.abs(t.dz[rows] / t.error[rows])))

        limit = GOOD.get(str(family), 0.01)
        right = mine & (off < limit)
        made[str(family)] = {
            "n_spectra": int(mine.sum()),
            "n_objects": draws.objects_in(mine),
            "class_accuracy": draws.rate(t.guess == t.family, mine),
            f"good_redshift_{limit}": draws.rate(off < limit, mine),
            "median_dz": draws.of_rows(median, mine),
            "robust_pull": draws.of_rows(pull, right) if right.any() else None,
            "outliers_unflagged": draws.rate(off > OUTLIER, mine & ~t.flagged),
            "unflagged": draws.rate(~t.flagged, mine),
        }
    return made


def take(t: Table, use: NDArray[np.bool_]) -> Table:
    """Some rows of a table."""
    return Table(*(column[use] for column in t))


def breakdown(t: Table) -> list[dict[str, Any]]:
    """Figures of simulated spectra by family, signal-to-noise ratio and redshift."""
    lines = []
    for family in FAMILIES:
        mine = t.family == family
        for low, high in pairwise(SNR_EDGES):
            use = mine & (t.snr >= low) & (t.snr < high)
            lines.append(_line(t, family, "snr", low, high, use))
        for low, high in pairwise(REDSHIFT_EDGES.get(family, ())):
            use = mine & (t.redshift >= low) & (t.redshift < high)
            lines.append(_line(t, family, "redshift", low, high, use))
    return [line for line in lines if line["n_spectra"] > 0]


def _line(
    t: Table, family: str, by: str, low: float, high: float, use: NDArray[np.bool_]
) -> dict[str, Any]:
    draws = Resampler(t.object)
    off = np.abs(t.dz)
    good: Figure = draws.rate(off < GOOD[family], use) if use.any() else None
    return {
        "family": family, "by": by, "from": low, "to": high, "n_spectra": int(use.sum()),
        "class_accuracy": draws.rate(t.guess == t.family, use) if use.any() else None,
        "good_redshift": good,
        "unflagged": draws.rate(~t.flagged, use) if use.any() else None,
    }  # fmt: skip


def evaluate(
    classifier: Classifier, part: str, count: int, noise_count: int, seed: int
) -> dict[str, Any]:
    """Everything that the card says about a survey model."""
    data = shared_data()
    made: dict[str, Any] = {"part": part, "commit": commit()}
    for key, window in (("real", None), ("real_4500_7500", NARROW)):
        made[key] = figures(columns(classify(classifier, *real_spectra(part, data, window))))
    libraries = read_libraries()
    donors = Donors(part_of(read_sdss(data), "train"))
    conditions = SurveyConditions(no_signal_share=0.0, borrowed_snr=True)
    simulator = SurveySimulator(libraries, donors, part, conditions)
    purpose = TEST if part == "test" else VALIDATION
    rows: list[Row] = []
    for index, family in enumerate(FAMILIES):
        batch = simulator.draw(count // len(FAMILIES), step_rng(seed, purpose, index), family)
        rows += classify(classifier, *simulated_spectra(batch))
    table = columns(rows)
    made["simulated"] = figures(table) | {"breakdown": breakdown(table)}
    batch = simulator.draw_noise(noise_count, step_rng(seed, purpose, 99))
    noise = classify(classifier, *simulated_spectra(batch))
    flagged = np.array([bool(row.answer.zwarning) for row in noise])
    draws = Resampler(np.arange(len(noise)).astype(str))
    made["noise"] = {
        "n_spectra": len(noise),
        "unflagged": draws.rate(~flagged, np.ones(len(noise), dtype=np.bool_)),
    }
    if all(row.answer.subtype_probabilities for row in rows[:1]):
        made["subclasses"] = subclass_figures(classifier, libraries, donors, part, count, seed)
    return made


def subclass_figures(
    classifier: Classifier,
    libraries: dict[str, RestLibrary],
    donors: Donors,
    part: str,
    count: int,
    seed: int,
) -> dict[str, Any]:
    """The published thirteen classes on SDSS-like spectra, as many of each.

    At the objects' own redshifts and signal-to-noise ratios, nothing cut away. The classes
    that were not published are no answer here; with them, `all_classes`.
    """
    conditions = SurveyConditions(
        natural_share=1.0, borrowed_snr=True, no_signal_share=0.0, cut_share=0.0
    )
    simulator = SurveySimulator(libraries, donors, part, conditions)
    purpose = TEST if part == "test" else VALIDATION
    batch = simulator.draw(count, step_rng(seed, purpose, 50))
    known = batch.subclass >= 0
    names = np.array(SUBCLASSES)[batch.subclass]
    spectra, truths = simulated_spectra(batch)
    if len(spectra) != len(names):
        raise SystemExit("a simulated spectrum cannot be used: the seed draws an empty one")
    answers = list(classifier.classify_many(spectra, batch_size=_CHUNK))
    p = np.array([[subclass_probability(a, name) for name in SUBCLASSES[:-1]] for a in answers])
    draws = Resampler(np.array([truth[0] for truth in truths]))
    every = np.array(SUBCLASSES[:-1])[p.argmax(axis=1)]
    published = [name for name in SUBCLASSES if name in PUBLISHED]
    columns_of = [SUBCLASSES.index(name) for name in published]
    guess = np.array(published)[p[:, columns_of].argmax(axis=1)]
    use = known & np.isin(names, published)
    table = [[int((use & (names == a) & (guess == b)).sum()) for b in published] for a in published]
    recalls = {name: draws.rate(guess == names, use & (names == name)) for name in published}
    indicator = np.stack(
        [x for name in published for x in _pair(use & (names == name), guess == names)], axis=1
    )

    def mean_recall(sums: FloatArray) -> FloatArray:
        return np.asarray(divide(sums[:, 1::2], sums[:, ::2]).mean(axis=1))

    return {
        "n_spectra": int(use.sum()),
        "n_objects": draws.objects_in(use),
        "classes": [PUBLISHED[name] for name in published],
        "average_accuracy": draws.of_sums(mean_recall, indicator),
        "recall": {PUBLISHED[name]: value for name, value in recalls.items()},
        "confusion": table,
        "all_classes": draws.rate(every == names, known),
    }


def _pair(mine: NDArray[np.bool_], right: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    return mine.astype(np.float64), (mine & right).astype(np.float64)


def subclass_probability(answer: Classification, name: str) -> float:
    """P(family and subclass) as the network of a result says."""
    blocks = (answer.models or {}).values()
    block = next(one for one in blocks if "class_probabilities" in one)
    return float(block["class_probabilities"][name])


def words(made: dict[str, Any]) -> Iterable[str]:
    """The main figures in lines."""
    for key in ("real", "real_4500_7500", "simulated"):
        block = made[key]
        yield f"{key}: n {block['n_spectra']}, class {block['class_accuracy']}, " + ", ".join(
            f"{name} {value}"
            for name, value in block.items()
            if name in ("good_redshift_0.01", "unflagged", "outliers_unflagged")
        )
        for family in FAMILIES:
            if family in block:
                yield f"  {family}: {json.dumps(block[family])}"
    yield f"noise: {made['noise']}"
    if "subclasses" in made:
        block = made["subclasses"]
        yield f"subclasses: average {block['average_accuracy']}, all {block['all_classes']}"
        yield f"  {json.dumps(block['recall'])}"


def write_confusion(folder: Path, part: str, block: dict[str, Any]) -> None:
    """Draw the confusion matrix of the published classes."""
    objects = f"{block['n_spectra']:,} simulated SDSS-like spectra of {part} objects"
    figure = confusion_figure(block["confusion"], block["classes"], block["classes"], objects)
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    figure.savefig(pictures / f"{part}-confusion.png", dpi=110)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="A model folder, e.g. exported_models/gasnet3.")],
    part: Annotated[str, typer.Option(help="validation, or test: once a release.")] = "validation",
    count: Annotated[int, typer.Option(help="Simulated spectra.")] = 1800,
    noise_count: Annotated[int, typer.Option(help="Spectra without a source.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated spectra.")] = 11,
    write: Annotated[bool, typer.Option("--write", help="Write them into the card.")] = False,
) -> None:
    """Measure a survey model on real and simulated spectra.

    Example: python -m training.evaluate_survey exported_models/gasnet3 --part validation
    """
    if part not in PARTS[1:]:
        raise SystemExit(f"--part {part}: validation or test")
    classifier = Classifier(f"{folder}/", device="cpu")
    made = evaluate(classifier, part, count, noise_count, seed)
    console = Console()
    for line in words(made):
        console.print(line, soft_wrap=True, highlight=False)
    if write:
        card = read_card(folder)
        card["metrics"] = {**card.get("metrics", {}), part: made | {"count": count, "seed": seed}}
        if "subclasses" in made:
            write_confusion(folder, part, made["subclasses"])
        before = card["sha256"]
        write_card(folder, card)
        follow(folder, before)
        write_survey_readme(folder)


if __name__ == "__main__":
    app()

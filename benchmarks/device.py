"""``python -m benchmarks device``: every device that works here, turn by turn.

The network alone in batches of 1 and 64, in half precision where a model has that and the
device is no CPU; the whole way from arrays to answers; and how far the outputs are from the CPU's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.report import AsJson, Check, Plot, Report, check_plot, deliver
from benchmarks.timing import Action, interleave, require
from specinfer.errors import SpecinferError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from specinfer import Classifier, Spectrum
    from specinfer.engine import Session
    from specinfer.models import ModelCard

MODELS = "spectranet,gasnet2,specpt,survey"
# Those of "auto", for the whole way, and the examples that they are asked about.
WHOLE = {"spectranet": "sedm", "survey": "survey"}
BATCHES = (1, 64)

app = typer.Typer(add_completion=False)


@app.command()
def main(
    models: Annotated[str, typer.Option(help="Names, with commas.")] = MODELS,
    count: Annotated[int, typer.Option(help="Repetitions of each.")] = 100,
    threads: Annotated[int | None, typer.Option(help="Threads of onnxruntime.")] = None,
    as_json: AsJson = False,
    plot: Plot = None,
    check: Check = False,
) -> None:
    """Print times on every device that works here; of the others, why they do not.

    Example: python -m benchmarks device --count 100
    """
    require(count, "--count")
    check_plot(plot)
    names = [name.strip() for name in models.split(",")]
    report = Report(
        "device", {"models": models, "repetitions": count, "threads": threads or "default"}
    )
    _measure(report, names, count, threads)
    deliver(report, as_json=as_json, plot=plot, check=check)


def _measure(report: Report, models: Sequence[str], count: int, threads: int | None) -> None:
    from benchmarks.figures import figure, milliseconds
    from specinfer.engine import usable_devices
    from specinfer.models import load_card, read_model

    cards = [load_card(name) for name in models]
    first = cards[0].networks[0]
    found = usable_devices(read_model(first), first.label)
    for device, reason in found.items():
        if reason is not None:
            report.notes.append(f"{device}: {reason}")
    devices = [device for device, reason in found.items() if reason is None]
    report.series["devices"] = found
    actions: dict[str, Action] = {}
    distances: dict[str, float] = {}
    for card in cards:
        # A combination has no network of its own.
        if card.networks == (card,):
            _add_networks(report, actions, distances, card, devices, threads)
    whole = _whole_ways([name for name in models if name in WHOLE], devices, threads)
    seconds = interleave(actions | whole, count, title="device")
    for name, taken in seconds.items():
        more = {"off_the_CPU_by": distances[name]} if name in distances else {}
        if name not in whole or not name.endswith(f"batch {BATCHES[-1]}"):
            report.figures.append(milliseconds(name, taken, **more))
        else:
            rates = [BATCHES[-1] / one for one in taken]
            report.figures.append(figure(name, rates, "/s", **more))


def _add_networks(
    report: Report,
    actions: dict[str, Action],
    distances: dict[str, float],
    card: ModelCard,
    devices: Sequence[str],
    threads: int | None,
) -> None:
    """Sessions of one model on every device and precision."""
    from specinfer.engine import Session
    from specinfer.models import read_half, read_model

    content, half = read_model(card), read_half(card)
    inputs = [_noise(card, batch) for batch in BATCHES]
    reference = Session(content, name=card.label, device="cpu", threads=1).run(inputs[0])
    for device in devices:
        kinds = {"float32": content} | ({"float16": half} if half and device != "cpu" else {})
        for precision, model in kinds.items():
            title = f"{card.name}, {device}, {precision}"
            session = Session(model, name=card.label, device=device, threads=threads)
            try:
                distance = _distance(session, inputs[0], reference)
            except SpecinferError as error:
                report.notes.append(f"{title}: {error.message}")
                continue
            for batch, arrays in zip(BATCHES, inputs, strict=True):
                actions[f"{title}, batch {batch}"] = partial(_run, session, arrays)
            distances[f"{title}, batch 1"] = distance


def _noise(card: ModelCard, batch: int) -> dict[str, NDArray[np.float32]]:
    """Input of the right shape; its numbers make no difference to the time."""
    import numpy as np

    shape = [batch, *card.raw["inputs"][0]["shape"][1:]]
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return {card.input_name: values}


def _distance(session: Session, inputs: dict[str, Any], reference: dict[str, Any]) -> float:
    """Largest difference of an output, as a share of the largest number of that output."""
    import numpy as np

    made = session.run(inputs)
    return max(
        float(np.abs(made[name] - values).max() / max(np.abs(values).max(), 1e-9))
        for name, values in reference.items()
    )


def _whole_ways(
    models: Sequence[str], devices: Sequence[str], threads: int | None
) -> dict[str, Action]:
    """From arrays to answers, one and many."""
    from benchmarks.examples import examples, noisy
    from specinfer import Classifier

    made: dict[str, Action] = {}
    for name in models:
        spectra = noisy(examples(WHOLE[name]), BATCHES[-1])
        for device in devices:
            classifier = Classifier(name, device, threads)
            title = f"{name}, {device}, to answers"
            made[f"{title}, batch 1"] = partial(_one, classifier, spectra)
            made[f"{title}, batch {BATCHES[-1]}"] = partial(_many, classifier, spectra)
    return made


def _run(session: Session, inputs: dict[str, Any], _: int) -> object:
    return session.run(inputs)


def _one(classifier: Classifier, spectra: Sequence[Spectrum], number: int) -> object:
    return classifier.classify(spectra[number % len(spectra)])


def _many(classifier: Classifier, spectra: Sequence[Spectrum], _: int) -> object:
    return list(classifier.classify_many(spectra, batch_size=len(spectra)))

"""`Classifier`: from spectra to results, with whichever model fits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from specinfer import result
from specinfer.answers import Network
from specinfer.engine import DEVICES, MAX_BATCH
from specinfer.errors import ModelError, ReadError, UsageError
from specinfer.models import DEFAULT_MODEL as DEFAULT_MODEL
from specinfer.models import MODEL_DIR_VARIABLE, ModelCard, load_card
from specinfer.networks import spectranet
from specinfer.networks.spectranet_answer import SpectraNetAnswer
from specinfer.readers import ReadOptions, iter_spectra
from specinfer.relevance import Relevance
from specinfer.result import Classification
from specinfer.spectrum import Spectrum
from specinfer.specutils_bridge import from_specutils, is_specutils

SURVEY_MODEL = "survey"
# Readers of files in which surveys of galaxies, quasars and stars publish.
SURVEY_FORMATS = ("desi", "sdss-spec", "spspec", "spplate", "lamost", "fourmost")


def route(spectrum: Spectrum) -> str:
    """Name of the model that "auto" takes for a spectrum.

    Parameters
    ----------
    spectrum : Spectrum

    Returns
    -------
    str
        That of the survey models for spectra from a survey's own files, with their errors;
        that of the transients' for all others.
    """
    survey = spectrum.reader in SURVEY_FORMATS and spectrum.has_noise
    return SURVEY_MODEL if survey else DEFAULT_MODEL


class Classifier:
    """Classifies spectra; one may be shared by many threads.

    Parameters
    ----------
    model : str, optional
        Name of an installed model, the path of a model's folder, or "auto".
    device : {"auto", "cpu", "cuda", "tensorrt"}, optional
        What to run on; "auto" takes the fastest that works.
    threads : int, optional
        Threads that share a batch; by default the usable CPUs, at most four. One spectrum
        is computed by the thread that asks.

    Raises
    ------
    ModelError
        If the model does not exist, was altered, or needs another version.
    UsageError
        If device or threads make no sense.

    Notes
    -----
    The network is loaded when it is first needed, or by `warm_up`.

    Examples
    --------
    >>> from specinfer import Classifier, read
    >>> classifier = Classifier()  # doctest: +SKIP
    >>> classifier.classify(read("sn.fits")[0]).class_name  # doctest: +SKIP
    'SN Ia'
    """

    def __init__(
        self, model: str = "auto", device: str = "auto", threads: int | None = None
    ) -> None:
        if device not in DEVICES:
            raise UsageError("bad_option", f"device {device!r} is not one of {', '.join(DEVICES)}")
        if threads is not None and threads < 1:
            raise UsageError("bad_option", f"threads must be at least 1, not {threads}")
        self.model = model
        self.device = device
        self.threads = threads
        self._lock = threading.Lock()
        self._networks: dict[str, Network] = {}
        # Missing and altered models are reported here, not at the first spectrum.
        self.network(DEFAULT_MODEL if model == "auto" else model)

    def network(self, name: str) -> Network:
        """The network of a name, read on first use and shared from then on."""
        with self._lock:
            if name not in self._networks:
                self._networks[name] = _load(load_card(name), self.device, self.threads)
            return self._networks[name]

    @property
    def embedding_size(self) -> int | None:
        """Length E of `Classification.embedding`; None for a model without one.

        For "auto", of the model that it takes for transients.
        """
        name = DEFAULT_MODEL if self.model == "auto" else self.model
        return self.network(name).card.embedding_size

    def warm_up(self) -> None:
        """Load the network now and run it once, so that the first answer comes at full speed.

        Raises
        ------
        ModelError, DeviceError
            If the network cannot be loaded here.
        """
        network = self.network(DEFAULT_MODEL if self.model == "auto" else self.model)
        network.checked_session.warm_up()

    def classify(self, spectrum: Spectrum, redshift: float | None = None) -> Classification:
        """Classify one spectrum.

        Parameters
        ----------
        spectrum : Spectrum
        redshift : float, optional
            The redshift, if it is known: the spectrum is then classified in its rest frame.

        Returns
        -------
        Classification
            With status "failed" if the spectrum cannot be used.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        return self._batch([spectrum], [redshift])[0]

    def classify_many(
        self,
        spectra: Iterable[Spectrum],
        redshifts: Iterable[float | None] | None = None,
        batch_size: int = MAX_BATCH,
    ) -> Iterator[Classification]:
        """Classify many spectra, batch by batch.

        Parameters
        ----------
        spectra : iterable of Spectrum
        redshifts : iterable of (float or None), optional
            Known redshifts, as many as spectra.
        batch_size : int, optional
            Spectra that are prepared and classified together.

        Yields
        ------
        Classification
            In the order of `spectra`; each is the same as `classify` gives. A spectrum that
            cannot be used gives a failed one and stops nothing.

        Raises
        ------
        UsageError
            If there are not as many redshifts as spectra, or batch_size is less than 1.
        """
        if batch_size < 1:
            raise UsageError("bad_option", f"batch_size must be at least 1, not {batch_size}")
        return self._stream(iter(spectra), redshifts, batch_size)

    def explain(self, classification: Classification) -> Relevance:
        """Which parts of a spectrum made an answer (see `specinfer.relevance`).

        Parameters
        ----------
        classification : Classification
            Of this classifier, with status "ok".

        Returns
        -------
        Relevance
            For each pixel, and the classical features that it points to.

        Raises
        ------
        UsageError
            ``nothing_to_explain`` for a failed result, ``other_model`` for one of a model
            that this classifier does not have, ``not_explained`` for a model whose answer
            is its own explanation (a best-fit model).
        ModelError, DeviceError
            If the network itself cannot be used.

        Examples
        --------
        >>> result = classifier.classify(spectrum)  # doctest: +SKIP
        >>> relevance = classifier.explain(result)  # doctest: +SKIP
        >>> [peak.name for peak in relevance.peaks]  # doctest: +SKIP
        ['Si II 6355', 'S II W']
        """
        answer, spectrum = classification.answer, classification.spectrum
        if answer is None or spectrum is None:
            raise UsageError(
                "nothing_to_explain",
                "there is no answer to explain: the result is a failed one, or was not made here",
            )
        network = self.network(route(spectrum) if self.model == "auto" else self.model)
        if network.card.label != classification.model:
            raise UsageError(
                "other_model",
                f"the result is of {classification.model}, this classifier has "
                f"{network.card.label}; explain it with the classifier that made it",
            )
        if not isinstance(answer, SpectraNetAnswer):
            raise UsageError(
                "not_explained",
                f"{network.card.label} explains its answer by its best-fit model: see the picture",
            )
        assert isinstance(network, spectranet.SpectraNet)
        return network.explain(answer)

    def _stream(
        self, spectra: Iterator[Spectrum], redshifts: Iterable[float | None] | None, size: int
    ) -> Iterator[Classification]:
        known = iter(redshifts) if redshifts is not None else None
        while batch := list(islice(spectra, size)):
            values: list[float | None] = [None] * len(batch)
            if known is not None:
                values = list(islice(known, len(batch)))
            if len(values) != len(batch):
                raise UsageError("bad_option", "there are fewer redshifts than spectra")
            yield from self._batch(batch, values)
        if known is not None and next(known, _END) is not _END:
            raise UsageError("bad_option", "there are more redshifts than spectra")

    def _batch(
        self, spectra: Sequence[Spectrum], redshifts: Sequence[float | None]
    ) -> list[Classification]:
        """Classify a batch: each model gets the spectra that are routed to it."""
        for spectrum in spectra:
            if not isinstance(spectrum, Spectrum):
                raise UsageError(
                    "bad_option",
                    f"expected a Spectrum, got {type(spectrum).__name__}; wrap arrays in "
                    "specinfer.Spectrum(wavelength=, flux=)",
                )
        names = [route(s) if self.model == "auto" else self.model for s in spectra]
        answers: dict[int, Classification] = {}
        for name in dict.fromkeys(names):
            network = self.network(name)
            members = [i for i, routed in enumerate(names) if routed == name]
            # Loading it is not part of the time for a spectrum.
            _ = network.checked_session
            start = time.perf_counter()
            raw = network.predict([spectra[i] for i in members], [redshifts[i] for i in members])
            share = (time.perf_counter() - start) * 1e3 / len(members)
            for i, answer in zip(members, raw, strict=True):
                if isinstance(answer, ReadError):
                    answers[i] = result.failed(answer, spectrum=spectra[i])
                else:
                    answers[i] = result.ok(
                        spectra[i], answer, model=network.card.label, latency_ms=share
                    )
        return [answers[i] for i in range(len(spectra))]


_END = object()


def _load(card: ModelCard, device: str, threads: int | None) -> Network:
    if card.family == "spectranet":
        return spectranet.load(card, device=device, threads=threads)
    if card.family == "gasnet3":
        # Who classifies transients alone does not pay for it.
        from specinfer.networks import gasnet3

        return gasnet3.load(card, device=device, threads=threads)
    if card.family == "gasnet2":
        from specinfer.networks import gasnet2

        return gasnet2.load(card, device=device, threads=threads)
    if card.family == "specpt":
        from specinfer.networks import specpt

        return specpt.load(card, device=device, threads=threads)
    if card.family == "survey":
        from specinfer.networks import survey

        return survey.load(card, device=device, threads=threads)
    raise ModelError(
        "unknown_family",
        f"model {card.label} is of the family {card.family!r}, which this version of "
        "specinfer does not know; install the version that the model came with",
    )


@lru_cache(maxsize=8)
def _shared_classifier(
    model: str, device: str, threads: int | None, model_dir: str | None
) -> Classifier:
    return Classifier(model, device, threads)


def shared_classifier(
    model: str = "auto", device: str = "auto", threads: int | None = None
) -> Classifier:
    """The classifier that `classify` keeps from call to call; see `Classifier`."""
    return _shared_classifier(model, device, threads, os.environ.get(MODEL_DIR_VARIABLE))


def classify(
    origin: Any,
    redshift: float | None = None,
    *,
    model: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    format: str | None = None,
    noise: str | None = None,
    unit: str | None = None,
    air: bool | None = None,
) -> Classification | list[Classification]:
    """Classify a spectrum or the spectra of a file.

    The classifier is kept, so that the second call costs only the work itself.

    Parameters
    ----------
    origin : Spectrum, path, bytes, file object, "-" or specutils.Spectrum
        What to classify; arrays are wrapped by `specinfer.Spectrum`.
    redshift : float, optional
        The redshift, if it is known.
    model, device, threads
        See `Classifier`.
    format, noise, unit, air
        See `specinfer.read`.

    Returns
    -------
    Classification or list of Classification
        One for a `Spectrum` and for a file that holds one; a list, with a failed result
        for each bad row, for a file that holds several.

    Raises
    ------
    ReadError
        If nothing in the file can be used.
    ModelError, DeviceError
        If the model cannot be used.

    Examples
    --------
    >>> import specinfer
    >>> specinfer.classify("sn.fits").to_dict()["class"]  # doctest: +SKIP
    'SN Ia'
    """
    classifier = shared_classifier(model, device, threads)
    if isinstance(origin, Spectrum):
        return classifier.classify(origin, redshift)
    if is_specutils(origin):
        return classifier.classify(from_specutils(origin, air=bool(air)), redshift)
    options = ReadOptions(format=format, noise=noise, unit=unit, air=air)
    items = list(iter_spectra(origin, options))
    spectra = [item for item in items if isinstance(item, Spectrum)]
    if not spectra:
        errors = [item for item in items if isinstance(item, ReadError)]
        raise errors[0] if errors else ReadError("no_spectra", "the file holds no spectra")
    answers = classifier.classify_many(spectra, [redshift] * len(spectra))
    name = os.fspath(origin) if isinstance(origin, (str, os.PathLike)) else None
    results = [
        next(answers)
        if isinstance(item, Spectrum)
        else result.failed(item, file=name, row=item.row, object=item.object)
        for item in items
    ]
    return results[0] if len(results) == 1 else results

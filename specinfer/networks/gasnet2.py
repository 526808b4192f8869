"""GaSNet-II: subclass and redshift of a survey spectrum by one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from specinfer import pdf
from specinfer.engine import MAX_BATCH, Session
from specinfer.errors import ModelError, ReadError
from specinfer.models import ModelCard
from specinfer.networks.gasnet2_answer import MODE_WIDTH, SubclassAnswer
from specinfer.networks.loading import check_session, open_session
from specinfer.networks.spectranet_answer import Candidate, Intervals
from specinfer.preparing import prepare_many
from specinfer.preprocess import N_CHANNELS, Prepared, Preprocessing
from specinfer.spectrum import Spectrum
from specinfer.subclass_card import NO_SIGNAL, SubclassCard

FloatArray = NDArray[np.float64]
_MODES = 3
# Families that are less probable give no candidates beside better ones.
_UNLIKELY = 1e-3


class GasNet2:
    """A loaded GaSNet-II; one may be used from many threads.

    Parameters
    ----------
    session : Session
        Of the card's ``model.onnx``.
    card : SubclassCard
    """

    # Of the graph: what a network with more to see and to say has otherwise.
    kind = "GaSNet-II"
    channels = N_CHANNELS
    more_outputs: tuple[str, ...] = ()

    def __init__(self, session: Session, card: SubclassCard) -> None:
        self.session = session
        self.card = card
        self.config = Preprocessing.from_dict(card.preprocessing)
        self.ln1z = card.redshift_bins.centres
        self.still = tuple(name for name, head in card.heads.items() if head.output is None)

    @cached_property
    def checked_session(self) -> Session:
        """The session, once it is known to be the one that the card describes.

        Raises
        ------
        ModelError
            ``card_altered``, or ``bad_model`` if inputs or outputs are not those of a
            GaSNet-II.
        """
        heads = {head.output for head in self.card.heads.values() if head.output}
        outputs = {"class_logits", "embedding", *self.more_outputs, *heads}
        check_session(self.session, self.card, outputs, self.kind, self.channels)
        return self.session

    def predict(
        self,
        spectra: Sequence[Spectrum],
        redshifts: Sequence[float | None] | None = None,
    ) -> list[SubclassAnswer | ReadError]:
        """Classify spectra.

        Parameters
        ----------
        spectra : sequence of Spectrum
        redshifts : sequence of (float or None), optional
            Known redshifts: families that exclude them lose their probability.

        Returns
        -------
        list of (SubclassAnswer or ReadError)
            In the order of `spectra`. An answer does not depend on what else is in the list.

        Raises
        ------
        ModelError, DeviceError
            If the network itself cannot be used.
        """
        known = list(redshifts) if redshifts is not None else [None] * len(spectra)
        answers: list[SubclassAnswer | ReadError] = []
        for start in range(0, len(spectra), MAX_BATCH):
            batch = slice(start, start + MAX_BATCH)
            some = spectra[batch]
            part = prepare_many(some, self.config)
            inputs = np.stack([self._input(*pair) for pair in zip(part, some, strict=True)])
            raw = self.checked_session.run({self.card.input_name: inputs})
            answers += self._answers(raw, part, some, known[batch])
        return answers

    def _input(self, prepared: Prepared, spectrum: Spectrum) -> NDArray[np.float32]:
        """What the network sees of a spectrum, shape (channels, P)."""
        return prepared.input

    @cached_property
    def _columns(self) -> dict[str, list[int]]:
        """Columns of the classes of each family."""
        return {name: list(self.card.columns(name)) for name in self.card.families}

    @cached_property
    def _still_pdfs(self) -> dict[str, FloatArray]:
        """p(z | family) of families that stand still, the same for every spectrum."""
        made = {}
        for name in self.still:
            spread = max(self.card.heads[name].spread, 0.3 * self.card.redshift_bins.step)
            p = np.exp(-0.5 * (self.ln1z / spread) ** 2)
            made[name] = p / p.sum()
        return made

    @cached_property
    def _still_modes(self) -> dict[str, pdf.Modes]:
        return {
            name: pdf.modes(p, self.ln1z, _MODES, MODE_WIDTH)
            for name, p in self._still_pdfs.items()
        }

    def distributions(
        self,
        raw: Mapping[str, NDArray[np.float32]],
        known: Sequence[float | None],
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Calibrated P(class), shape (batch, n_classes), and p(z | family) by family.

        The latter have shape (batch, NZ), or (NZ,) for families that stand still.
        """
        p_class = pdf.softmax(raw["class_logits"], self.card.class_temperature)
        pdfs = {
            name: pdf.softmax(raw[head.output], head.temperature)
            if head.output
            else self._still_pdfs[name]
            for name, head in self.card.heads.items()
        }
        for row, redshift in enumerate(known):
            if redshift is None:
                continue
            # Bayes: P(family | z) ~ P(family) p(z | family).
            weight = np.ones(p_class.shape[1])
            for name, p in pdfs.items():
                density = float(np.interp(np.log1p(redshift), self.ln1z, _of_row(p, row)))
                weight[self._columns[name]] = max(density, 1e-6)
            p_class[row] = p_class[row] * weight / (p_class[row] * weight).sum()
        return p_class, pdfs

    def _answers(
        self,
        raw: Mapping[str, NDArray[np.float32]],
        prepared: Sequence[Prepared],
        spectra: Sequence[Spectrum],
        known: Sequence[float | None],
    ) -> list[SubclassAnswer | ReadError]:
        """What the outputs of a batch mean."""
        card = self.card
        p_class, pdfs = self.distributions(raw, known)
        sums = {name: p_class[:, of].sum(axis=1).tolist() for name, of in self._columns.items()}
        families = [dict(zip(sums, row, strict=True)) for row in zip(*sums.values(), strict=True)]
        ranked = [sorted(one, key=one.__getitem__, reverse=True) for one in families]
        redshifts = self._redshifts([names[0] for names in ranked], pdfs, known)
        modes = self._modes(ranked, families, pdfs, known)
        novelty = -np.logaddexp.reduce(raw["class_logits"].astype(np.float64), axis=-1)
        made: list[SubclassAnswer | ReadError] = []
        for row, (one, spectrum) in enumerate(zip(prepared, spectra, strict=True)):
            if not one.valid.any():
                made.append(
                    ReadError(
                        "out_of_range",
                        f"no usable pixel of {spectrum.wavelength[0]:.0f}-"
                        f"{spectrum.wavelength[-1]:.0f} A falls on the grid of {card.label}",
                    )
                )
                continue
            best = ranked[row][0]
            redshift, error, interval = redshifts[row]
            flags = {
                "LOW_SNR": not spectrum.snr >= card.low_snr,
                "LITTLE_COVERAGE": float(one.coverage) < card.min_coverage,
                "NO_SIGNAL": best == NO_SIGNAL,
                "NOVEL": novelty[row] > card.novelty_limit,
                "Z_GIVEN": known[row] is not None,
            }
            p = families[row]
            kept = tuple(name for name in ranked[row] if p[name] >= card.set_threshold)
            made.append(
                SubclassAnswer(
                    probabilities=p,
                    prediction_set=kept or (best,),
                    redshift=redshift,
                    redshift_err=error,
                    redshift_interval=interval,
                    candidates=_candidates(ranked[row], p, modes[row], pdfs, known[row]),
                    flags=tuple(name for name, is_set in flags.items() if is_set),
                    embedding=raw["embedding"][row],
                    novelty=float(novelty[row]),
                    class_probabilities=dict(zip(card.classes, p_class[row].tolist(), strict=True)),
                    ln1z=self.ln1z,
                    family_pdfs={name: _of_row(values, row) for name, values in pdfs.items()},
                    still_families=self.still,
                    wavelength=self.config.wavelength,
                    prepared=one,
                    family_modes=modes[row],
                )
            )
        return made

    def _redshifts(
        self,
        best: Sequence[str],
        pdfs: Mapping[str, FloatArray],
        known: Sequence[float | None],
    ) -> list[tuple[float | None, float | None, Intervals | None]]:
        """Redshift, error and intervals of the best family of each spectrum."""
        made: list[tuple[float | None, float | None, Intervals | None]] = [
            (None if z is None else float(z), None, None) for z in known
        ]
        for name, head in self.card.heads.items():
            rows = [i for i, one in enumerate(best) if one == name and known[i] is None]
            if head.output is None:
                for i in rows:
                    made[i] = (0.0, head.spread, None)
                continue
            if not rows:
                continue
            tails = [0.5 * (1.0 - mass) for mass in head.levels.values()]
            levels = [0.5, *(end for tail in tails for end in (tail, 1.0 - tail))]
            values = np.expm1(pdf.quantiles(pdfs[name][rows], self.ln1z, levels)).tolist()
            for i, (middle, *ends) in zip(rows, values, strict=True):
                pairs = zip(ends[::2], ends[1::2], strict=True)
                intervals: Intervals = dict(zip(head.levels, pairs, strict=True))
                low, high = intervals["68"]
                made[i] = (middle, 0.5 * (high - low), intervals)
        return made

    def _modes(
        self,
        ranked: Sequence[Sequence[str]],
        families: Sequence[Mapping[str, float]],
        pdfs: Mapping[str, FloatArray],
        known: Sequence[float | None],
    ) -> list[dict[str, pdf.Modes]]:
        """Modes of p(z | family) of the families that have candidates, of each spectrum."""
        made: list[dict[str, pdf.Modes]] = [{} for _ in ranked]
        moving: list[tuple[int, str]] = []
        for row, names in enumerate(ranked):
            if known[row] is not None:
                continue
            some = [name for name in names if name in pdfs]
            for rank, name in enumerate(some):
                if rank > 0 and families[row][name] < _UNLIKELY:
                    continue
                if name in self._still_modes:
                    made[row][name] = self._still_modes[name]
                else:
                    moving.append((row, name))
        if moving:
            stacked = np.stack([pdfs[name][row] for row, name in moving])
            found = pdf.modes(stacked, self.ln1z, _MODES, MODE_WIDTH)
            for (row, name), centre, mass in zip(moving, *found, strict=True):
                made[row][name] = pdf.Modes(centre, mass)
        return made


def _of_row(p: FloatArray, row: int) -> FloatArray:
    """A spectrum's p(z | family), of those of a batch or of one for all."""
    return p if p.ndim == 1 else p[row]


def _candidates(
    ranked: Sequence[str],
    families: Mapping[str, float],
    modes: Mapping[str, pdf.Modes],
    pdfs: Mapping[str, FloatArray],
    known: float | None,
) -> tuple[Candidate, ...]:
    """The best pairs of family and redshift."""
    pairs: list[Candidate] = []
    for name in ranked:
        if known is not None and name in pdfs and (not pairs or families[name] >= _UNLIKELY):
            pairs.append(Candidate(name, float(known), families[name]))
        elif name in modes:
            centre, mass = modes[name]
            pairs += [
                Candidate(name, z, families[name] * share)
                for z, share in zip(np.expm1(centre).tolist(), mass.tolist(), strict=True)
                if share > 0
            ]
    return tuple(sorted(pairs, key=lambda pair: -pair.score)[:_MODES])


def load(card: ModelCard, *, device: str = "auto", threads: int | None = None) -> GasNet2:
    """Load a GaSNet-II whose files are those that were published.

    Parameters
    ----------
    card : ModelCard
    device, threads
        See `specinfer.engine.Session`.

    Returns
    -------
    GasNet2

    Raises
    ------
    ModelError
        If the model or its card was altered, or is of another kind.
    """
    if not isinstance(card, SubclassCard):
        raise ModelError("unknown_family", f"model {card.label} is not a GaSNet-II")
    return GasNet2(open_session(card, device, threads), card)

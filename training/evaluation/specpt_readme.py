"""What the README of a SpecPT says beyond that of every survey model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def specpt_lines(block: dict[str, Any]) -> Iterable[str]:
    """The figures of `training.evaluate_specpt`, line by line."""
    yield from _redshifts(block)
    yield from _by_class(block["by_class"])
    yield from _reconstruction(block["reconstruction"])
    yield from _lines(block["desi_like"]["lines"])


def curves_lines(card: dict[str, Any]) -> Iterable[str]:
    """How it was trained, and what half precision changes."""
    settings = card["training"]["settings"]
    yield ""
    yield (
        f"The first {settings['pretrain_steps']:,} of {card['training']['steps']:,} steps fill in "
        f"hidden patches ({settings['hidden_share']:.0%} of a spectrum, in runs) and nothing else; "
        "then class and redshift come in. [Learning curves](learning-curves.csv):"
    )
    yield ""
    yield "![learning curves](pictures/learning-curves.png)"
    yield ""
    yield (
        f"`model.fp16.onnx` is the same network with stem, transformer and decoder in half "
        "precision, for CUDA and TensorRT: largest change of a redshift over 1 + z "
        f"{card['half']['largest_dz']:.1e} on {card['half']['n_spectra']} validation spectra (on "
        "the CPU; no GPU could be had)."
    )


def trial_lines(made: dict[str, Any]) -> Iterable[str]:
    """What the combination of network and scan would gain by this network."""
    low, high = made["nll_difference"][1:]
    joins = "It joins" if high < 0 else "It does not join"
    yield ""
    yield (
        f"{joins} `survey`, the combination of network and scan: in place of {made['beside']} the "
        "mean -ln P of what came out changes by "
        f"{made['nll_difference'][0]:+.4f} ({low:+.4f} to {high:+.4f}) on {made['n_spectra']} "
        f"spectra of validation objects, {made['nll_difference_real'][0]:+.4f} "
        f"({made['nll_difference_real'][1]:+.4f} to {made['nll_difference_real'][2]:+.4f}) on the "
        f"{made['n_real']} real ones among them (whole, and with 4500-7500 A alone); less is "
        "better. Weights by five-fold cross-validation, `python -m training.try_proposer "
        f"exported_models/specpt --count {made['count']} --write`:"
    )
    yield ""
    yield "| network | -ln P | -ln P, real | right | right, real | answered in windows |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for label, one in ((made["beside"], made["now"]), ("specpt", made["with_it"])):
        cells = [_plain(one[key]) for key in ("nll", "nll_real", "right", "right_real")]
        yield f"| {label} | " + " | ".join([*cells, _plain(one["in_windows"])]) + " |"


def _redshifts(block: dict[str, Any]) -> Iterable[str]:
    yield ""
    yield "As SpecPT counts redshifts (NMAD = 1.4826 median |dz - median dz|):"
    yield ""
    yield "| spectra | n (objects) | NMAD | outliers > 0.15 | outliers > 0.0033 |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, made in block["desi_like"].items():
        if name == "lines":
            continue
        low, high = made["redshift"]
        yield _redshift_row(f"{name} galaxies, z {low:g}-{high:g}", made)
        for some in made["by_snr"]:
            to = "" if some["to"] > 1e6 else f"-{some['to']:g}"
            label = f"S/N {some['from']:g}{to}" if to else f"S/N above {some['from']:g}"
            yield _redshift_row(f"of these, {label}", some)
    for name, made in block["real"].items():
        yield _redshift_row(f"real SDSS/BOSS, {name}", made)
    for label, others in block.get("real_beside", {}).items():
        for name, made in others.items():
            yield _redshift_row(f"{label} on real SDSS/BOSS, {name}", made)
    yield ""
    for name, made in block["desi_like"].items():
        if name == "lines":
            continue
        ratios = ", ".join(f"{q} %: {x:g}" for q, x in made["snr_percentiles"].items())
        oxygen = made["oxygen_snr"]
        seen = f"; [O II] has at least {oxygen:g} sigma" if oxygen else ""
        yield (
            f"{name}: simulated galaxies of held-out objects with DESI's range of wavelengths, "
            f"signal-to-noise ratio a pixel of 0.0001 in log10(wavelength) of {ratios}{seen}."
        )


def _by_class(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield ""
    yield "The same of simulated survey spectra of all kinds:"
    yield ""
    yield "| spectra | n (objects) | NMAD | outliers > 0.15 | outliers > 0.0033 |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for one in rows:
        what = "S/N" if one["by"] == "snr" else "z"
        to = "and more" if one["to"] > 1e6 else f"to {one['to']:g}"
        yield _redshift_row(f"{one['family']}, {what} {one['from']:g} {to}", one)


def _redshift_row(label: str, made: dict[str, Any]) -> str:
    cells = [
        label, f"{made['n_spectra']} ({made['n_objects']})", _small(made["nmad"]),
        _percent(made["outliers_0.15"]), _percent(made["outliers_0.0033"]),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _reconstruction(made: dict[str, Any]) -> Iterable[str]:
    yield ""
    yield (
        f"Denoised spectra ({made['n_spectra']} simulated ones of {made['n_objects']} objects, sky "
        "residuals three times the usual): misfit (mean square of the residuals in sigma, each at "
        "most 5; median over spectra) of the data to the denoised spectrum, and to the truth:"
    )
    yield ""
    yield "| S/N | n | misfit | misfit of the truth |"
    yield "| --- | ---: | ---: | ---: |"
    yield (
        f"| all | {made['n_spectra']} | {_plain(made['misfit'])} | "
        f"{_plain(made['misfit_of_truth'])} |"
    )
    for some in made["by_snr"]:
        to = "" if some["to"] > 1e6 else f"{some['to']:g}"
        yield (
            f"| {some['from']:g} to {to} | {some['n_spectra']} | {_plain(some['misfit'])} | "
            f"{_plain(some['misfit_of_truth'])} |"
        )
    yield ""
    yield (
        f"What is taken over of noise, at the {made['sky']['pixels']} grid pixels with most sky "
        "lines and elsewhere: power of the noise and of the error of the denoised spectrum (in "
        "sigma squared a pixel), and the share of the noise that is still there (slope of that "
        "error on the noise; 1 would be a copy, 0 nothing):"
    )
    yield ""
    yield "| pixels | noise | error | share of noise kept |"
    yield "| --- | ---: | ---: | ---: |"
    for place in ("sky", "elsewhere"):
        one = made["sky"][place]
        yield (
            f"| {place} | {_plain(one['noise_power'])} | {_plain(one['error_power'])} | "
            f"{_plain(one['share_of_noise_kept'])} |"
        )


def _lines(made: dict[str, Any]) -> Iterable[str]:
    measured, denoised = made["measured"], made["denoised"]
    low, high = measured["true_snr"]
    yield ""
    yield (
        "Line fluxes over the true ones, in the DESI-like galaxies, at the estimated redshift "
        "where it is right within 0.003:"
    )
    yield ""
    yield "| flux | n (objects) | mean | median |"
    yield "| --- | ---: | ---: | ---: |"
    yield _line_row(f"as `--lines` measures it, true S/N {low:g}-{high:g}", measured)
    for name, one in made["by_line"].items():
        yield _line_row(f"of these, {name}", one)
    yield _line_row(
        f"of the denoised spectrum itself, true S/N from {denoised['true_snr_from']:g}", denoised
    )


def _line_row(label: str, made: dict[str, Any]) -> str:
    cells = [
        label, f"{made['n_lines']} ({made['n_objects']})", _plain(made["mean"]),
        _plain(made["median"]),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _plain(figure: list[float] | None) -> str:
    return "" if figure is None else "{:.3f} ({:.3f}-{:.3f})".format(*figure)


def _small(figure: list[float] | None) -> str:
    return "" if figure is None else "{:.1e} ({:.1e}-{:.1e})".format(*figure)


def _percent(figure: list[float] | None) -> str:
    if figure is None:
        return ""
    return "{:.2f} % ({:.2f}-{:.2f})".format(*(100.0 * x for x in figure))

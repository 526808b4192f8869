"""OSC JSON, SNID templates and CSP text: several epochs, or the rest frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specinfer.errors import ReadError
from specinfer.readers import FORMATS, iter_spectra, load_reader
from specinfer.readers.base import ReadOptions, Source
from specinfer.spectrum import Spectrum
from specinfer.wavelengths import air_to_vacuum

WAVELENGTH = np.linspace(4000.0, 8000.0, 401)
LINE = 6000.0
REDSHIFT = 0.05


def model(wavelength: Any) -> Any:
    """A flat continuum with an emission line at `LINE`."""
    return 1.0 + 4.0 * np.exp(-0.5 * ((np.asarray(wavelength) - LINE) / 20.0) ** 2)


def items(origin: Any, name: str, **options: Any) -> list[Spectrum | ReadError]:
    """What the file gives, recognised by its contents."""
    assert load_reader(name).identify(Source(origin))
    found = list(iter_spectra(origin, ReadOptions(**options)))
    assert all(item.reader == name for item in found if isinstance(item, Spectrum))
    return found


def good(origin: Any, name: str, **options: Any) -> list[Spectrum]:
    found = items(origin, name, **options)
    assert all(isinstance(item, Spectrum) for item in found)
    return [item for item in found if isinstance(item, Spectrum)]


def peak(spectrum: Spectrum) -> float:
    return float(spectrum.wavelength[np.argmax(spectrum.flux)])


def osc(*epochs: dict[str, Any], **event: Any) -> bytes:
    return json.dumps({"SN1": {"name": "SN1", "spectra": list(epochs), **event}}).encode()


def epoch(*columns: Any, **facts: Any) -> dict[str, Any]:
    columns = columns or (WAVELENGTH, model(WAVELENGTH))
    rows = [[f"{value:.10g}" for value in row] for row in zip(*columns, strict=True)]
    return {"u_wavelengths": "Angstrom", "time": "56415.0", "data": rows, **facts}


def lnw(fluxes: Any, *, age_flag: int = 0, wavelength: Any = WAVELENGTH) -> bytes:
    fluxes = np.asarray(fluxes)
    count = len(fluxes)
    lines = [f"  {count} {len(wavelength)} 2500.00 10000.00   2   SN1    1.05  Ia-norm  1  2"]
    lines += ["  2 2 0.1 " * count, " 1 2.5 0.1" * count, " 2 2.9 0.1" * count]
    lines += [f" {age_flag} " + " ".join(f"{5.0 * n - 3.0:.3f}" for n in range(count))]
    for wave, values in zip(wavelength, fluxes.T, strict=True):
        lines.append(f"{wave:9.2f}" + "".join(f"{value:9.3f}" for value in values))
    return ("\n".join(lines) + "\n").encode()


def csp(wavelength: Any, flux: Any, redshift: str = f"{REDSHIFT}") -> bytes:
    cards = (
        f"#Object:               SN1\n#FITS_file:    SN1_b01_DUP_WF_14sep04.fits\n"
        f"#Redshift:             {redshift}\n#JDate_of_max:         2453239.06\n"
        "#JDate_of_observation: 2453262.71\n#Epoch:                23.19     \n#\n"
    )
    rows = (f" {w:.4f} {f:.5e}\n" for w, f in zip(wavelength, flux, strict=True))
    return (cards + "".join(rows)).encode()


# Published files.


@pytest.mark.parametrize(
    ("name", "epochs", "redshift", "span"),
    [
        ("SN2013cu", 6, 0.0258, (4950.0, 10150.5)),
        ("SN2014L", 20, 0.008029, (3350.0, 7943.65)),
    ],
)
def test_osc_samples(
    samples: Path, name: str, epochs: int, redshift: float, span: tuple[float, float]
) -> None:
    found = good(samples / "osc_json" / f"{name}.json", "osc-json")
    assert [spectrum.row for spectrum in found] == list(range(epochs))
    first = found[0]
    assert (first.object, first.redshift) == (name, redshift)
    assert first.wavelength[[0, -1]] == pytest.approx(span, abs=0.01)
    assert all(56400 < (spectrum.mjd or 0) < 56900 for spectrum in found)


def test_osc_errors_of_the_samples(samples: Path) -> None:
    found = good(samples / "osc_json" / "SN2014L.json", "osc-json")
    # The catalogue repeats the flux as the error for WiFeS; Kast has real errors.
    wifes = [s for s in found if "WiFeS" in str(s.instrument)]
    kast = [s for s in found if s.instrument == "Kast"]
    assert len(wifes) == 8
    assert not any(spectrum.has_noise for spectrum in wifes)
    assert all("NOISE_COPIES_FLUX" in spectrum.flags for spectrum in wifes)
    assert len(kast) == 4
    assert all(spectrum.has_noise for spectrum in kast)
    assert 1.0 / np.sqrt(kast[0].ivar[0]) == pytest.approx(0.222613)
    assert kast[0].snr == pytest.approx(float(kast[0].header["SNR"]), rel=0.1)


@pytest.mark.parametrize(
    ("name", "epochs", "kind", "phases"),
    [
        ("PTF10bzf", 2, "Ic-broad", (2.2, 7.0)),
        ("sn04fz_bsnip", 3, "Ia-norm", (-5.179, 22.276)),
        ("sn07kk_bsnip", 1, "Ia-norm", (7.146, 7.146)),
        ("sn1998de", 7, "Ia-91bg", (-7.2, 2.7)),
        ("sn2001cp", 8, "Ia-norm", (-6.8, 26.2)),
        ("sn2004bg", 5, "Ia-norm", (-3.0, 12.5)),
        ("sn2006bt", 14, "Ia-norm", (-4.6, 53.3)),
        ("sn2007hj", 14, "Ia-norm", (-2.6, 36.8)),
    ],
)
def test_snid_samples(
    samples: Path, name: str, epochs: int, kind: str, phases: tuple[float, float]
) -> None:
    found = good(samples / "snid_lnw" / f"{name}.lnw", "snid-lnw")
    assert len(found) == epochs
    assert (found[0].header["PHASE"], found[-1].header["PHASE"]) == phases
    for spectrum in found:
        assert spectrum.object == name.removesuffix("_bsnip")
        assert spectrum.header["TYPE"] == kind
        assert spectrum.wavelength[[0, -1]] == pytest.approx([2501.69, 9993.24])
        # SNID's axis is logarithmic, and its continuum is 1 with the padding left out.
        steps = np.diff(np.log(spectrum.wavelength))
        assert steps == pytest.approx(np.log(4.0) / 1024, rel=5e-3)
        assert np.median(spectrum.flux[spectrum.good]) == pytest.approx(1.0, abs=0.15)
        assert spectrum.wavelength[spectrum.good][0] > 2800
    if kind == "Ia-norm":
        early = min(found, key=lambda s: abs(s.header["PHASE"]))
        near = early.good & (early.wavelength > 5900) & (early.wavelength < 6400)
        silicon = early.wavelength[near][np.argmin(early.flux[near])]
        # Si II 6355 leaves at 10,000 to 12,000 km/s near maximum light.
        assert 6080 < silicon < 6220


@pytest.mark.parametrize(
    ("name", "pixels", "redshift", "span"),
    [
        ("SN04dt_040914_b01_DUP_WF", 1788, 0.01973, (3800.0, 9235.0)),
        ("SN05ki_051125_b01_DUP_MS", 1427, 0.01921, (3780.0, 7289.5)),
        ("SN06gj_061005_g01_NTT_EM", 1868, 0.02835, (4000.0, 10200.0)),
        ("SN07ai_070312_g01_BAA_IM", 3056, 0.03166, (4528.5, 10192.4)),
        ("SN07sr_080103_b01_3P6_EF", 1010, 0.00548, (3300.0, 6075.0)),
        ("SN08gp_081222_b01_DUP_WF", 1788, 0.03341, (3800.0, 9235.0)),
    ],
)
def test_csp_samples(
    samples: Path, name: str, pixels: int, redshift: float, span: tuple[float, float]
) -> None:
    (spectrum,) = good(samples / "csp" / f"{name}.dat", "csp")
    assert len(spectrum) == pixels
    assert spectrum.redshift == redshift
    # In the observed frame the spectra were cut at round wavelengths.
    assert spectrum.wavelength[[0, -1]] == pytest.approx(span, abs=0.06)
    assert "REST_FRAME" in spectrum.flags
    assert spectrum.object == "SN20" + name[2:6]
    assert spectrum.mjd is not None
    assert 53200 < spectrum.mjd < 54900
    # The phase is counted in rest-frame days from maximum light.
    days = spectrum.mjd + 2400000.5 - spectrum.header["JD_MAX"]
    assert spectrum.header["PHASE"] == pytest.approx(days / (1 + redshift), abs=0.02)


# Small files.


def test_osc_deredshifted_spectra_move_back() -> None:
    rest = epoch(WAVELENGTH / 10, model(WAVELENGTH), u_wavelengths="nm", deredshifted=True)
    content = osc(rest | {"redshift": "0.1"}, rest, redshift=[{"value": "0.05"}])
    own, objects = good(content, "osc-json")
    assert peak(own) == pytest.approx(LINE * 1.1)
    assert peak(objects) == pytest.approx(LINE * 1.05)
    assert all("REST_FRAME" in spectrum.flags for spectrum in (own, objects))
    (alone,) = good(osc(epoch(redshift="0.1")), "osc-json")
    assert (peak(alone), alone.redshift, alone.row) == (LINE, 0.1, 0)
    assert "REST_FRAME" not in alone.flags


def test_osc_errors_dates_and_air() -> None:
    noise = np.random.default_rng(1).uniform(0.05, 0.1, WAVELENGTH.size)
    flux = model(WAVELENGTH) + 0.08 * np.random.default_rng(2).standard_normal(WAVELENGTH.size)
    content = osc(epoch(WAVELENGTH, flux, noise, time="2456415.75", u_time="JD"))
    (spectrum,) = good(content, "osc-json")
    assert spectrum.mjd == pytest.approx(56415.25)
    assert 1 / np.sqrt(spectrum.ivar) == pytest.approx(noise)
    (variance,) = good(content, "osc-json", noise="var", air=True)
    assert 1 / variance.ivar == pytest.approx(noise)
    assert variance.wavelength == pytest.approx(air_to_vacuum(WAVELENGTH))
    assert "AIR_UNKNOWN" not in variance.flags


def test_osc_bad_epochs_do_not_spoil_the_others() -> None:
    short = epoch(WAVELENGTH[:20], model(WAVELENGTH[:20]))
    words = {"u_wavelengths": "Angstrom", "data": [["a", "b"]] * 100}
    lost = epoch(deredshifted="True")
    parsec = epoch(u_wavelengths="parsec")
    found = items(osc(short, epoch(), words, lost, {"time": "1"}, parsec), "osc-json")
    errors = {item.row: item.code for item in found if isinstance(item, ReadError)}
    assert errors == {
        **{0: "out_of_range", 2: "bad_row", 3: "no_redshift"},
        **{4: "no_good_pixels", 5: "unknown_unit"},
    }
    assert isinstance(found[1], Spectrum)


def test_osc_without_a_unit_is_not_guessed() -> None:
    nm = epoch(WAVELENGTH / 10, model(WAVELENGTH))
    del nm["u_wavelengths"]
    (error,) = items(osc(nm), "osc-json")
    assert isinstance(error, ReadError)
    assert error.code == "no_unit"
    assert "--unit nm" in error.message
    (spectrum,) = good(osc(nm), "osc-json", unit="nm")
    assert peak(spectrum) == pytest.approx(LINE)


@pytest.mark.parametrize(
    ("content", "code"),
    [(osc(epoch())[:-40], "bad_json"), (b'{"a": {"spectra": []}}', "no_spectra")],
)
def test_osc_damaged(content: bytes, code: str) -> None:
    with pytest.raises(ReadError) as error:
        items(content, "osc-json")
    assert error.value.code == code


def test_snid_padding_and_empty_epochs() -> None:
    padded = model(WAVELENGTH) - 1.0 + 0.01
    padded[:50] = padded[-30:] = 0.0
    first, second = items(lnw([padded, np.zeros(401)], age_flag=1), "snid-lnw")
    assert isinstance(first, Spectrum)
    assert np.flatnonzero(first.good)[[0, -1]].tolist() == [50, 370]
    assert first.flux.max() == pytest.approx(5.01)
    assert (first.header["PHASE"], first.header["PHASE_FLAG"], first.redshift) == (-3.0, 1, 0.0)
    assert isinstance(second, ReadError)
    assert (second.code, second.row, second.object) == ("no_good_pixels", 1, "SN1")


def test_snid_damaged() -> None:
    content = lnw([model(WAVELENGTH)])
    for damaged in (content[:-100], content.replace(b"5.000", b"x")):
        with pytest.raises(ReadError) as error:
            items(damaged, "snid-lnw")
        assert error.value.code == "truncated_file"


def test_csp_moves_back_before_the_air_is_taken_out() -> None:
    content = csp(WAVELENGTH / (1 + REDSHIFT), model(WAVELENGTH))
    (spectrum,) = good(content, "csp")
    assert peak(spectrum) == pytest.approx(LINE, abs=1e-3)
    assert spectrum.flags == ("REST_FRAME", "AIR_UNKNOWN")
    assert (spectrum.mjd, spectrum.header["PHASE"]) == (pytest.approx(53262.21), 23.19)
    (spectrum,) = good(content.replace(b"\n", b"\r\n"), "csp", air=True)
    assert spectrum.wavelength == pytest.approx(air_to_vacuum(WAVELENGTH), abs=1e-3)


@pytest.mark.parametrize("redshift", ["unknown", "-2", "nan"])
def test_csp_needs_a_redshift(redshift: str) -> None:
    with pytest.raises(ReadError) as error:
        items(csp(WAVELENGTH, model(WAVELENGTH), redshift), "csp")
    assert error.value.code == "no_redshift"


@pytest.mark.parametrize("name", ["osc-json", "snid-lnw", "csp"])
@pytest.mark.parametrize(
    "content", [b"4000 1.0\n4001 1.1\n", b"{}", b'{"flux": 3}', b"\x00\x01", b"#Redshift: 1\n"]
)
def test_others_are_left_alone(name: str, content: bytes) -> None:
    assert name in FORMATS
    assert not load_reader(name).identify(Source(content))

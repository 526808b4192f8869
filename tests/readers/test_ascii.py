"""Columns of numbers without names, the ways in, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text_writers import COLUMNS, FLUX, NOISE, SIGMA, SKY, WAVELENGTH, check, error, one, rows

import specinfer
from specinfer.errors import ReadError
from specinfer.readers import read
from specinfer.wavelengths import air_to_vacuum


def test_two_columns() -> None:
    spectrum = one(rows(WAVELENGTH, FLUX), "ascii")
    check(spectrum, None)
    assert spectrum.flags == ("AIR_UNKNOWN",)


@pytest.mark.parametrize("kind", list(NOISE))
def test_third_column_by_the_ratio_test(kind: str) -> None:
    spectrum = one(rows(WAVELENGTH, FLUX, NOISE[kind]), "ascii")
    check(spectrum)
    assert f"NOISE_GUESSED_{kind.upper()}" in spectrum.flags


def test_third_column_that_is_no_noise() -> None:
    spectrum = one(rows(WAVELENGTH, FLUX, np.ones(1201)), "ascii")
    check(spectrum, None)
    assert "NOISE_UNKNOWN" in spectrum.flags
    copied = one(rows(WAVELENGTH, FLUX, FLUX), "ascii")
    check(copied, None)
    assert "NOISE_COPIES_FLUX" in copied.flags
    zero = one(rows(WAVELENGTH, FLUX, 0 * FLUX), "ascii")
    check(zero, None)
    assert "NOISE_ALL_ZERO" in zero.flags


def test_error_among_other_columns() -> None:
    """Sky, error and a counter: only one of them fits the scatter of the flux."""
    content = rows(WAVELENGTH, FLUX, 1e3 * SKY, SIGMA, np.arange(1201.0))
    check(one(content, "ascii"))


@pytest.mark.parametrize("sign", ["#", "%", ";", "!", "//", "|", '"', ""])
def test_comment_signs(sign: str) -> None:
    head = f"{sign} a spectrum of the night\n{sign} OBJECT: SN1\n{sign}\n"
    spectrum = one(head + rows(*COLUMNS), "ascii")
    check(spectrum)
    assert spectrum.object == "SN1"
    if sign not in ("", "|", '"'):
        check(one(rows(*COLUMNS) + f"{sign} end\n"))


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n\n"])
def test_newlines(newline: str) -> None:
    check(one(("# OBJECT: SN1\n" + rows(*COLUMNS)).replace("\n", newline), "ascii"))


def test_encodings() -> None:
    head = "# Beobachter: Jürg\n# OBJECT: SN1\n"
    for encoding in ("utf-8", "utf-8-sig", "latin-1"):
        spectrum = one((head + rows(*COLUMNS)).encode(encoding), "ascii")
        check(spectrum)
        assert spectrum.object == "SN1"
    check(one(("wave,flux,err\n" + rows(*COLUMNS, mark=",")).encode("utf-8-sig"), "table-text"))


@pytest.mark.parametrize("letter", ["D", "d", "E"])
@pytest.mark.parametrize("head", ["", "wave flux err\n"])
def test_fortran_exponents(letter: str, head: str) -> None:
    # The letters of the names stay.
    check(one(head + rows(*COLUMNS).replace("e", letter), "table-text" if head else "ascii"))


def test_fortran_without_a_letter() -> None:
    """An exponent of three digits leaves no room for the letter: 1.5-101."""
    content = rows(WAVELENGTH, FLUX * 1e-100, SIGMA * 1e-100).replace("e-1", "-1")
    spectrum = one(content, "ascii")
    np.testing.assert_allclose(spectrum.flux, FLUX * 1e-100, rtol=1e-6)


@pytest.mark.parametrize("mark", [" ", ";", "\t"])
def test_decimal_commas(mark: str) -> None:
    check(one(rows(*COLUMNS, mark=mark).replace(".", ","), "ascii"))


@pytest.mark.parametrize("head", ["", "wave,flux,err\n"])
def test_descending_wavelengths(head: str) -> None:
    check(one(head + rows(*(column[::-1] for column in COLUMNS), mark=",")))


@pytest.mark.parametrize("head", ["", "wave,flux,err\n"])
def test_duplicate_and_unsorted_wavelengths(head: str) -> None:
    twice, swapped = WAVELENGTH.copy(), WAVELENGTH.copy()
    twice[51] = twice[50]
    swapped[[50, 51]] = swapped[[51, 50]]
    for wavelength, word in ((twice, "twice"), (swapped, "out of order")):
        caught = error(head + rows(wavelength, FLUX, SIGMA, mark=","))
        assert caught.code == "not_increasing"
        assert word in caught.message
        assert "sort" in caught.message


@pytest.mark.parametrize("head", ["", "wave flux err\n"])
def test_missing_and_sentinel_values(head: str) -> None:
    lines = rows(*COLUMNS).splitlines()
    for place, value in ((100, "nan"), (200, "-999"), (300, "INDEF"), (400, "inf")):
        cells = lines[place].split()
        lines[place] = f"{cells[0]} {value} {cells[2]}"
    spectrum = one(head + "\n".join(lines))
    assert np.flatnonzero(~spectrum.good).tolist() == [100, 200, 300, 400]
    assert "SENTINELS_MASKED" in spectrum.flags


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("angstrom", WAVELENGTH),
        ("nm", WAVELENGTH / 10),
        ("um", WAVELENGTH / 1e4),
        ("m", WAVELENGTH / 1e10),
        ("log10", np.log10(WAVELENGTH)),
        ("ln", np.log(WAVELENGTH)),
    ],
)
def test_unit_option(unit: str, values: Any) -> None:
    for head in ("", "wave flux err\n"):
        content = head + rows(values, FLUX, SIGMA, digits=10)
        check(one(content, unit=unit))
        if unit != "angstrom":
            caught = error(content)
            assert caught.code == "no_unit"
            assert "--unit" in caught.message


@pytest.mark.parametrize(
    "words",
    ["# wavelength in nm", "# Wavelength unit: nanometres", "# WAVEUNIT = 'nm'", "# lambda (nm)"],
)
def test_unit_in_the_header(words: str) -> None:
    check(one(f"{words}\n" + rows(WAVELENGTH / 10, FLUX, SIGMA), "ascii"))


@pytest.mark.parametrize(
    ("words", "air"),
    [
        ("# Wavelengths are in air", True),
        ("# wavelength (air), flux", True),
        ("# VACUUM: False", True),
        ("# Wavelengths are in vacuum", False),
        ("# AIRORVAC = 'vac'", False),
    ],
)
def test_air_in_the_header(words: str, air: bool) -> None:
    content = f"{words}\n" + rows(*COLUMNS)
    spectrum = one(content, "ascii")
    expected = air_to_vacuum(WAVELENGTH) if air else WAVELENGTH
    np.testing.assert_allclose(spectrum.wavelength, expected, rtol=1e-7)
    assert ("AIR_FROM_HEADER" in spectrum.flags) == air
    check(one(content, air=False))


def test_facts_in_any_style() -> None:
    head = "# SNID 2020abc\n# INSTRUME: LRIS\n# JD 2459000.0\n# z = 0.03\n# comment: none\n"
    spectrum = one(head + rows(*COLUMNS), "ascii")
    check(spectrum)
    assert (spectrum.object, spectrum.instrument) == ("2020abc", "LRIS")
    assert (spectrum.mjd, spectrum.redshift) == (58999.5, 0.03)
    quoted = one("# Object  = 'SN 2020abc' / name\n" + rows(*COLUMNS), "ascii")
    assert quoted.object == "SN 2020abc"


# Ways in.


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "spectrum.txt.z"
    path.write_bytes(compress(rows(*COLUMNS).encode()))
    (spectrum,) = specinfer.read(path)
    check(spectrum)
    assert spectrum.file == str(path)


def test_files_and_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "wave,flux,err\n" + rows(*COLUMNS, mark=",")
    path = tmp_path / "spectrum.csv"
    path.write_text(content)
    with path.open() as text, path.open("rb") as binary:
        origins: Sequence[Any] = (
            *(path, str(path), content.encode(), text, binary),
            *(io.BytesIO(content.encode()), io.StringIO(content)),
        )
        for origin in origins:
            check(specinfer.read(origin)[0])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    (spectrum,) = specinfer.read("-")
    check(spectrum)
    assert spectrum.file == "-"


def test_format_option() -> None:
    named = "wave,flux,err\n" + rows(*COLUMNS, mark=",")
    spectrum = one(named, "ascii", format="ascii")
    check(spectrum)
    # Without the names, the noise is a guess.
    assert "NOISE_GUESSED_SIGMA" in spectrum.flags
    assert one(named, format="table-text").flags == ("AIR_UNKNOWN",)
    assert error(named, format="nonesuch").code == "unknown_format"
    assert error(rows(*COLUMNS), format="table-text").code == "no_columns"
    # The third column is then the variance, for that is what the format says.
    as_sedm = one(rows(*COLUMNS), "sedm-text", format="sedm-text")
    np.testing.assert_allclose(as_sedm.sigma_array, np.sqrt(SIGMA), rtol=1e-6)


@pytest.mark.parametrize(("option", "code"), [("noise", "unknown_noise"), ("unit", "unknown_unit")])
def test_options_that_do_not_exist(option: str, code: str) -> None:
    assert error(rows(*COLUMNS), **{option: "loud"}).code == code


# What is refused.

WORDS = "dear observer,\nthe night was cloudy\nno spectra\n"


def test_words() -> None:
    caught = error(WORDS)
    assert caught.code == "unknown_file"
    assert "dear observer" in caught.message
    for name in ("ascii", "table-text", "lpipe", "sedm-text"):
        caught = error(WORDS, format=name)
        assert caught.code == "no_numbers"
        assert "wavelength and flux" in caught.message


def test_one_column() -> None:
    assert error(rows(FLUX)).code == "unknown_file"


def test_a_file_that_was_cut_off() -> None:
    for head in ("", "wave flux err\n"):
        whole = head + rows(*COLUMNS)
        caught = error(whole[: whole.rindex(" ")])
        assert caught.code in ("ragged_table", "ragged_rows")
        assert line_named(caught.message) == whole.count("\n")


def line_named(message: str) -> int:
    """The line that a message names."""
    return int(message.split("line ", 1)[1].split()[0])


def test_words_between_the_rows() -> None:
    lines = rows(*COLUMNS).splitlines()
    cells = lines[100].split()
    for words in ("the telescope moved", f"{cells[0]} {cells[1]} cloud"):
        caught = error("\n".join([*lines[:100], words, *lines[100:]]))
        assert caught.code == "bad_row"
        assert line_named(caught.message) == 101
    # A comment does no harm.
    check(one("\n".join([*lines[:100], "# the telescope moved", *lines[100:]])))


def test_too_many_columns_without_names() -> None:
    assert error(rows(*COLUMNS, *[SKY] * 6)).code == "not_a_spectrum"


def test_what_macos_leaves(tmp_path: Path) -> None:
    path = tmp_path / "._sn1.flm"
    path.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + b"\x00" * 100)
    with pytest.raises(ReadError, match=r"without \._") as caught:
        read(path)
    assert caught.value.code == "junk_file"


def test_flux_that_is_not_there() -> None:
    assert error(rows(WAVELENGTH, 0 * FLUX)).code == "no_good_pixels"
    assert error(rows(WAVELENGTH, np.full(1201, np.nan))).code == "no_good_pixels"
    assert error(rows(WAVELENGTH + 2e4, FLUX)).code == "out_of_range"


def test_a_table_of_words_is_no_spectrum() -> None:
    text = "file,class,z,snr\nspec_1,SN Ia,0.05,20\nspec_2,SN II,0.02,15\nspec_3,Star,0.0,25\n"
    with pytest.raises(ReadError) as caught:
        read(text.encode())
    assert caught.value.code == "not_a_spectrum"
    assert "nan" not in str(caught.value)

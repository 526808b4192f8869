"""Files that the command line writes: complete or not at all, and never over an input."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from specinfer.cli_report import say
from specinfer.errors import ModelError, SpecinferError, UsageError

if TYPE_CHECKING:
    from specinfer.cli_inputs import Target
    from specinfer.result import Classification


class PendingFile:
    """A hidden file in the folder of the final one, whose place it takes on `replace`.

    Made at once, so that a folder that cannot be written to is known before the work
    starts.

    Parameters
    ----------
    path : str
    option : str
        That named it, for messages.
    binary : bool, optional

    Raises
    ------
    SpecinferError
        If it cannot be written (code ``not_writable``).
    """

    def __init__(self, path: str, option: str, *, binary: bool = False) -> None:
        self.path = path
        self.option = option
        # A link stays a link: what it points to is replaced.
        self._target = os.path.realpath(path)
        if os.path.isdir(self._target):
            raise SpecinferError("not_writable", f"{option} {path} is a folder; give a file name")
        with self.errors():
            handle, self._temporary = tempfile.mkstemp(
                prefix=".specinfer_", suffix=".tmp", dir=os.path.dirname(self._target)
            )
        if binary:
            self.stream: IO[Any] = open(handle, "wb")  # noqa: SIM115
        else:
            self.stream = open(handle, "w", encoding="utf-8", newline="")  # noqa: SIM115

    def replace(self) -> None:
        """Put the file in its place; on failure nothing is left behind."""
        try:
            with self.errors():
                self.stream.flush()
                os.fsync(self.stream.fileno())
                self.stream.close()
                os.chmod(self._temporary, _usual_mode(self._target))
                os.replace(self._temporary, self._target)
        except SpecinferError:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self.stream.close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Failures of the file system as a `SpecinferError` that names the option."""
        try:
            yield
        except OSError as error:
            raise SpecinferError(
                "not_writable",
                f"{self.option} {self.path} cannot be written ({error.strerror}); choose a folder "
                "that exists and that you may write to",
            ) from None


class EmbeddingFile:
    """The embeddings of all results as one NumPy array, shape (n_results, E), float32.

    Rows are in the order of the results, with NaN for failed ones. They go to disk as
    they come, so that memory stays bounded. Where several models answer, the rows are of
    the first that did; those of the others are NaN, and said once.

    Parameters
    ----------
    path : str
        Ends in ``.npy``.
    size : int or None
        E, as the model's card says; of the first result where the model is chosen for each.
    fixed : bool, optional
        Whether all results must be of that size.

    Raises
    ------
    UsageError
        If the ending is another (``bad_output``) or the model gives none (``no_embedding``).
    SpecinferError
        If the file cannot be written (code ``not_writable``).
    """

    def __init__(self, path: str, size: int | None, fixed: bool = True) -> None:
        if not path.lower().endswith(".npy"):
            raise UsageError("bad_output", f"--embedding {path}: the name must end in .npy")
        if size is None:
            raise UsageError(
                "no_embedding", "--embedding: this model gives no embedding; choose another model"
            )
        self.size = size
        self.model: str | None = None
        self._fixed = fixed
        self._mixed = False
        self.count = 0
        self._file = PendingFile(path, "--embedding", binary=True)
        with self._file.errors():
            self._file.stream.write(npy_header(0, size))

    def write(self, results: Sequence[Classification]) -> None:
        """Add the rows of one batch."""
        # Commands that write no embeddings need no numpy.
        import numpy as np

        first = next((one for one in results if one.embedding is not None), None)
        if self.model is None and first is not None and first.embedding is not None:
            self.model = first.model
            if not self._fixed and first.embedding.size != self.size:
                self._resize(first.embedding.size)
        rows = np.full((len(results), self.size), np.nan, dtype="<f4")
        for row, result in zip(rows, results, strict=True):
            if result.embedding is None:
                continue
            if result.model != self.model:
                self._say_mixed(result)
            elif result.embedding.shape == (self.size,):
                row[:] = result.embedding
            else:
                raise ModelError(
                    "bad_model",
                    f"model {result.model} gave an embedding of {result.embedding.size} numbers "
                    f"where its card says {self.size}; reinstall specinfer or restore the folder",
                )
        with self._file.errors():
            self._file.stream.write(rows.tobytes())
        self.count += len(results)

    def _resize(self, size: int) -> None:
        """Take another E, before the first row that is not NaN."""
        self.size = size
        with self._file.errors():
            self._file.stream.seek(0)
            self._file.stream.truncate()
            self._file.stream.write(npy_header(0, size))
            for _ in range(self.count):
                self._file.stream.write(b"\x00\x00\xc0\x7f" * size)

    def _say_mixed(self, result: Classification) -> None:
        if not self._mixed:
            say(
                f"specinfer: --embedding: {result.file or 'a spectrum'} was answered by "
                f"{result.model}, the rows are those of {self.model}; such rows are NaN (choose "
                "one with --model)"
            )
        self._mixed = True

    def close(self) -> None:
        """Write how many rows there are and put the file in its place."""
        try:
            with self._file.errors():
                self._file.stream.seek(0)
                self._file.stream.write(npy_header(self.count, self.size))
        except SpecinferError:
            self._file.discard()
            raise
        self._file.replace()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.discard()


# Room for any number of rows, so that the header can be written again when it is known.
_HEADER_BYTES = 128


def npy_header(n_rows: int, n_columns: int) -> bytes:
    """Header of a ``.npy`` file (format 1.0) with a C-ordered float32 matrix, 128 bytes."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {n_columns}), }}"
    magic = b"\x93NUMPY\x01\x00"
    length = _HEADER_BYTES - len(magic) - 2
    body = text.encode("ascii").ljust(length - 1) + b"\n"
    return magic + length.to_bytes(2, "little") + body


def guard_inputs(
    targets: Iterable[Target | None], outputs: Sequence[tuple[str, str]]
) -> Iterator[Target | None]:
    """The targets, until one of them is a file that is to be written.

    Parameters
    ----------
    targets : iterable of (Target or None)
    outputs : sequence of (str, str)
        Options and the paths they name.

    Raises
    ------
    UsageError
        ``would_overwrite``.
    """
    for target in targets:
        for option, path in outputs:
            if target is not None and _same_file(target.path, path):
                raise UsageError(
                    "would_overwrite",
                    f"{option} {path} is one of the files to be classified; give another name",
                )
        yield target


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one of them does not exist, or is "-"
        return False


def _usual_mode(path: str) -> int:
    """Mode of the file that is replaced, or what the umask gives a new one."""
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask

"""Read and write an export: a ZIP archive with the same bytes for the same runs.

Its members are not compressed: compressors differ between machines, and an uncompressed archive
cannot be a decompression bomb. Its comment is the SHA-256 of all bytes before it.
"""

import contextlib
import hashlib
import io
import json
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mnist_ops.core import atomic_files, keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.study.dataset import MAX_CLASSES, classes_of
from mnist_ops.study.results import Predictions
from mnist_ops.study.validity import MAX_IMAGES
from mnist_ops.tracking.exchange.records import (
    Fingerprint,
    Line,
    ParamText,
    Point,
    RunRecord,
    images_id,
)

FORMAT: Literal["mnist-ops-export"] = "mnist-ops-export"
VERSION: Literal[1] = 1
MAX_BYTES = 2**31
MAX_RUNS = 100_000
MAX_LINE = 2**23
MAX_MANIFEST = 2**24
MAX_TEST_SETS = 1000
# Largest list of members in bytes, which zipfile reads at once.
MAX_DIRECTORY = 2**20

_MANIFEST, _RUNS = "manifest.json", "runs.jsonl"
_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
# Header of a member, of which the lengths of its name and of its extra field are read.
_LOCAL = struct.Struct("<26x2H")
_CHUNK = 1 << 20
# The earliest time of the format.
_TIME = (1980, 1, 1, 0, 0, 0)
# Exceptions of zipfile, json and numpy on invalid content.
_UNREADABLE = (
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    RecursionError,
    struct.error,
    OverflowError,
)

# A run and its predictions; runs of one test set share the arrays of labels and indices.
Item = tuple[RunRecord, Predictions | None]


@dataclass(frozen=True)
class _Place:
    """Where a run is in the file: its line in `_RUNS`, and its row among the predictions."""

    line: int
    length: int
    row: int
    test_set: str | None


class Manifest(Line):
    """Format and number of runs of the file; reasons why cells have no run, by fingerprint."""

    format: Literal["mnist-ops-export"] = FORMAT
    version: Literal[1] = VERSION
    runs: int
    not_measured: Annotated[
        dict[Fingerprint, Annotated[ParamText, Field(min_length=1)]], Field(max_length=MAX_RUNS)
    ]


class BadArchive(InvalidInput):
    """A file is not a valid export."""


def write(path: Path, runs: Iterable[Item], not_measured: Mapping[str, str]) -> str:
    """Write an export completely or not at all; return its SHA-256.

    Args:
        path: of the file; an export that exists is replaced.
        runs: sorted by fingerprint, each once.
        not_measured: fingerprint -> reason why the cell could not be run.

    Raises:
        InvalidInput: `path` is a file of another kind.
        MnistOpsError: the file cannot be written.
    """
    if path.exists() and not is_archive(path):
        raise InvalidInput(
            f"{path} exists and is not an export: move it away, or choose another file"
        )
    try:
        with atomic_files.work_folder(path.parent) as folder:
            export = folder / "export"
            with export.open("w+b") as file:
                digest = _write(file, folder, runs, not_measured)
                file.flush()
                os.fsync(file.fileno())
            export.replace(path)
    except OSError as error:
        raise MnistOpsError(
            f"cannot write {path}: {error.strerror or error}; {atomic_files.advice(error)}"
        ) from None
    return digest


def _write(
    file: IO[bytes], folder: Path, runs: Iterable[Item], not_measured: Mapping[str, str]
) -> str:
    test_sets: dict[str, Predictions] = {}
    rows: Counter[str] = Counter()
    lines: list[bytes] = []
    for record, predictions in runs:
        lines.append(record.to_json())
        if record.test_set is not None and predictions is not None:
            test_sets[record.test_set] = predictions
            rows[record.test_set] += 1
            with (folder / record.test_set).open("ab") as matrix:
                matrix.write(predictions.predicted.tobytes())
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, images in sorted(test_sets.items()):
            shape = (rows[name], len(images.label))
            _add(archive, _member(name, "label"), [_npy(images.label)])
            _add(archive, _member(name, "index"), [_npy(images.index)])
            with (folder / name).open("rb") as matrix:
                content = iter(lambda: matrix.read(_CHUNK), b"")
                _add(archive, _member(name, "predicted"), [_header(np.uint8, shape), *content])
        _add(archive, _RUNS, lines)
        manifest = Manifest(runs=len(lines), not_measured=dict(not_measured))
        _add(archive, _MANIFEST, [manifest.to_json()])
        archive.comment = _MARK + b"0" * 64
    size = file.seek(0, io.SEEK_END) - _COMMENT
    digest = _digest(file, size)
    file.seek(size)
    file.write(_MARK + digest.encode())
    return digest


def _add(archive: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> None:
    member = zipfile.ZipInfo(name, _TIME)
    member.create_system = 3
    member.external_attr = 0o644 << 16
    with archive.open(member, "w") as out:
        for part in parts:
            out.write(part)


def is_archive(path: Path) -> bool:
    """Return whether the file at `path` is an export, damaged or not."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - _COMMENT, 0))
        return file.read(len(_MARK)) == _MARK


class Archive:
    """An export of which every value was checked.

    Attributes:
        path: of the file.
        digest: SHA-256 of its content, as hexadecimal digits.
        runs: their number.
        not_measured: fingerprint -> reason why the cell could not be run.
    """

    def __init__(self, path: Path, each: Callable[[Item, int], None] = lambda item, of: None):
        """Check the file at `path`; use it as a context manager, which closes it.

        Args:
            path: of the file.
            each: gets each run as it is checked, by fingerprint, and the number of all. If this
                raises, discard them.

        Raises:
            BadArchive: the file is not an export, is damaged, too large, or of a newer version.
            OSError: the file cannot be read.
        """
        self.path = path
        self._file = path.open("rb")
        try:
            with self._checked():
                self._open()
                self._check(each)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def items(self) -> Iterator[Item]:
        """Yield the runs, by fingerprint."""
        with self._checked():
            for item, _ in self._items():
                yield item

    def predictions(self, fingerprint: str) -> Predictions | None:
        """Return the predictions of a run; None if it has none."""
        place = self._places[fingerprint]
        if place.test_set is None:
            return None
        label, index = self._test_sets[place.test_set]
        start = self._starts[_member(place.test_set, "predicted")]
        row = start + len(_header(np.uint8, (1, 1))) + place.row * len(label)
        return Predictions(np.frombuffer(self._bytes(row, len(label)), np.uint8), label, index)

    def history(self, fingerprint: str, metric: str) -> list[Point]:
        """Return the points of a metric of a run, sorted by step; an empty list without any."""
        place = self._places[fingerprint]
        line = self._bytes(self._starts[_RUNS] + place.line, place.length)
        # The line was checked when the file was opened.
        return [Point(*point) for point in json.loads(line)["metrics"].get(metric, ())]

    def _bytes(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        return self._file.read(length)

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except BadArchive:
            raise
        except _UNREADABLE as error:
            problem = " ".join(str(error).split())[:200] or type(error).__name__
            raise BadArchive(f"{self.path} is damaged or altered: {problem}") from None

    def _open(self) -> None:
        size = self._file.seek(0, io.SEEK_END)
        if size > MAX_BYTES:
            raise BadArchive(f"{self.path} is too large for an export: {size:,} bytes")
        self._file.seek(max(size - _COMMENT - _END.size, 0))
        end = self._file.read(_END.size)
        comment = self._file.read()
        self._file.seek(0)
        begins_well = self._file.read(2) == b"PK"
        if not (begins_well and end[:4] == _END_MARK and comment.startswith(_MARK)):
            problem = "is truncated or altered" if begins_well else "is not an export of mnist-ops"
            raise BadArchive(f"{self.path} {problem}: get the file again")
        if _END.unpack(end)[5] > MAX_DIRECTORY:
            raise BadArchive(f"{self.path} has too many members for an export")
        # Before the digest, which a newer version may compute in another way.
        with zipfile.ZipFile(self._file) as archive:
            self._sizes = {member.filename: member for member in archive.infolist()}
            self._refuse_newer(archive)
            self.digest = comment[len(_MARK) :].decode("ascii", "replace")
            if self.digest != _digest(self._file, size - _COMMENT):
                raise BadArchive(f"{self.path} is damaged or altered: get the file again")
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                    raise BadArchive(f"{self.path} has a compressed or encrypted member")
                if member.file_size != member.compress_size:
                    raise BadArchive(f"{self.path} has a member of another size than declared")

    def _refuse_newer(self, archive: zipfile.ZipFile) -> None:
        if _MANIFEST not in self._sizes:
            raise BadArchive(f"{self.path} is not an export of mnist-ops: it has no {_MANIFEST}")
        fields = json.loads(_read(archive, _MANIFEST, MAX_MANIFEST))
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise BadArchive(f"{self.path} is not an export of mnist-ops")
        version = fields.get("version")
        if isinstance(version, int) and version > VERSION:
            raise BadArchive(
                f"{self.path} was written by a newer mnist-ops (format {version}, this one reads "
                f"{VERSION}): upgrade with pip install --upgrade mnist-ops"
            )

    def _check(self, each: Callable[[Item, int], None]) -> None:
        with zipfile.ZipFile(self._file) as archive:
            manifest = Manifest.from_json(_read(archive, _MANIFEST, MAX_MANIFEST))
            self._test_sets = dict(self._read_test_sets(archive))
        self.runs, self.not_measured = manifest.runs, manifest.not_measured
        self._starts = {name: self._start(member) for name, member in self._sizes.items()}
        self._places: dict[str, _Place] = {}
        used: set[str | None] = {None}
        last = ""
        for count, (item, place) in enumerate(self._items(), start=1):
            record, _ = item
            if count > MAX_RUNS:
                raise BadArchive(f"{self.path} has too many runs: more than {MAX_RUNS:,}")
            if record.fingerprint <= last:
                raise BadArchive(f"{self.path} has duplicate or unsorted runs")
            last = record.fingerprint
            self._places[last] = place
            used.add(record.test_set)
            each(item, self.runs)
        if len(self._places) != self.runs or used != self._test_sets.keys() | {None}:
            raise BadArchive(f"{self.path} has other runs or test sets than its manifest")
        if self.not_measured.keys() & self._places.keys():
            raise BadArchive(f"{self.path} has a run that its manifest lists as not measured")

    def _read_test_sets(
        self, archive: zipfile.ZipFile
    ) -> Iterator[tuple[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]]:
        names = archive.namelist()
        ids = list(dict.fromkeys(n.split("/")[1] for n in names if n.startswith("test-sets/")))
        if len(ids) > MAX_TEST_SETS:
            raise BadArchive(f"{self.path} has too many test sets")
        parts = ("label", "index", "predicted")
        wanted = [_member(i, part) for i in ids for part in parts] + [_RUNS, _MANIFEST]
        if names != wanted or ids != sorted(ids):
            raise BadArchive(f"{self.path} has other members than an export")
        for name in ids:
            label = self._array(archive, _member(name, "label"), np.uint8, MAX_CLASSES)
            index = self._array(archive, _member(name, "index"), np.int32, MAX_IMAGES)
            if len(label) != len(index):
                raise BadArchive(
                    f"{self.path} has a test set with different numbers of labels and images"
                )
            if images_id(label, index) != name:
                raise BadArchive(f"{self.path} has a test set with a wrong name")
            yield name, (label, index)

    def _array(self, archive: zipfile.ZipFile, name: str, dtype: type, below: int) -> NDArray[Any]:
        """Return a vector of integers in [0, `below`); compare its header without parsing it."""
        content = _read(archive, name, 8 * MAX_IMAGES)
        count = (len(content) - len(_header(dtype, (0,)))) // np.dtype(dtype).itemsize
        header = _header(dtype, (count,))
        if count <= 0 or not content.startswith(header):
            raise BadArchive(f"{self.path} has an array of another form than it should")
        little = np.dtype(dtype).newbyteorder("<")
        array: NDArray[Any] = np.frombuffer(content, little, offset=len(header)).astype(dtype)
        if array.min() < 0 or array.max() >= below:
            raise BadArchive(f"{self.path} has a label or an index out of range")
        return array

    def _start(self, member: zipfile.ZipInfo) -> int:
        """Return where the content of a member begins, which is stored as it is."""
        header = self._bytes(member.header_offset, _LOCAL.size)
        return member.header_offset + _LOCAL.size + sum(_LOCAL.unpack(header))

    def _items(self) -> Iterator[tuple[Item, _Place]]:
        with contextlib.ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(self._file))
            matrices = {
                name: stack.enter_context(self._matrix(archive, name)) for name in self._test_sets
            }
            lines = stack.enter_context(archive.open(_RUNS))
            rows: Counter[str | None] = Counter()
            begin = 0
            while line := lines.readline(MAX_LINE):
                record = RunRecord.from_json(line)
                place = _Place(begin, len(line), rows[record.test_set], record.test_set)
                begin += len(line)
                rows[record.test_set] += 1
                if record.test_set is None:
                    yield (record, None), place
                    continue
                label, index = self._test_sets[record.test_set]
                predicted = np.frombuffer(matrices[record.test_set].read(len(label)), np.uint8)
                most = classes_of(record.params.get(keys.DATASET, ""))
                if len(predicted) != len(label) or max(predicted.max(), label.max()) >= most:
                    raise BadArchive(f"{self.path} has predictions out of range")
                yield (record, Predictions(predicted, label, index)), place
            if any(matrix.read(1) for matrix in matrices.values()):
                raise BadArchive(f"{self.path} has predictions without a run")

    @contextlib.contextmanager
    def _matrix(self, archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
        width = len(self._test_sets[name][0])
        member = _member(name, "predicted")
        size = self._sizes[member].file_size - len(_header(np.uint8, (1, width)))
        header = _header(np.uint8, (size // width, width))
        with archive.open(member) as matrix:
            if matrix.read(len(header)) != header:
                raise BadArchive(f"{self.path} has an array of another form than it should")
            yield matrix


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as member:
        content = member.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} is too large")
    return content


def _member(test_set: str, part: str) -> str:
    return f"test-sets/{test_set}/{part}.npy"


def _npy(array: NDArray[Any]) -> bytes:
    little = array.astype(array.dtype.newbyteorder("<"))
    return _header(array.dtype.type, array.shape) + little.tobytes()


def _header(dtype: type, shape: tuple[int, ...]) -> bytes:
    """Return the header of NumPy's format 1.0, which has 128 bytes for every shape used here."""
    out = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype).newbyteorder("<")),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(out, description)
    return out.getvalue()


def _digest(file: IO[bytes], size: int) -> str:
    """Return the SHA-256 of the first `size` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (part := file.read(min(size, _CHUNK))):
        digest.update(part)
        size -= len(part)
    return digest.hexdigest()

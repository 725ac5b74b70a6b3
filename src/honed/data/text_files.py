"""Text files, read strictly and in pieces: UTF-8 or an error that names the first bad byte and its line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from honed.errors import DataError

_PIECE_BYTES = 1 << 22
_MANY_HIGH_BYTES = 0.3
_JUDGED_BYTES = 100_000
_UNDEFINED_IN_WINDOWS_1252 = b"\x81\x8d\x8f\x90\x9d"


@dataclass(frozen=True)
class TextFile:
    """A file that was looked through once: all of it is UTF-8 without NUL, and not blank.

    n_bytes : its size.    first_character : the first that is no blank.
    """

    path: Path
    n_bytes: int
    first_character: str

    @contextmanager
    def lines(self) -> Iterator[tuple[io.TextIOWrapper, io.FileIO]]:
        r"""The text, cut at \r\n, \n and \r, which stay; and the file below, whose `tell` says how far it was read.

        Raises DataError if the file was changed since it was looked through.
        """
        with (
            io.FileIO(self.path) as raw,
            io.TextIOWrapper(io.BufferedReader(raw, _PIECE_BYTES // 4), encoding="utf-8-sig", newline="") as text,
        ):
            try:
                yield text, raw
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path} was changed while it was read.",
                    cause=str(error),
                    remedy="Wait until it is written, then try again.",
                ) from None


def look_through(path: Path) -> TextFile:
    """Read a whole file, in pieces, to know that it is text.

    Raises DataError for another encoding (naming the first bad byte, its line and the probable encoding), NUL bytes,
    or a file of blanks.
    """
    first_character = ""
    n_nul = first_nul_line = n_bytes = 0
    for piece, line in _pieces(path):
        n_bytes = piece.end
        if "\x00" in piece.text:
            first_nul_line = first_nul_line or line + piece.text.count("\n", 0, piece.text.index("\x00"))
            n_nul += piece.text.count("\x00")
        first_character = first_character or piece.text.lstrip()[:1]
    if n_nul:
        raise DataError(
            f"{path} holds a NUL byte in line {first_nul_line} ({n_nul} in all).",
            cause="It is UTF-16 without a byte order mark, a binary file, or was damaged while it was written.",
            remedy=f"Export it again as UTF-8 text, or remove them: tr -d '\\000' < {path} > clean{path.suffix}",
        )
    if not first_character:
        raise empty_file(path, "is empty")
    return TextFile(path, n_bytes, first_character)


@dataclass(frozen=True)
class _Piece:
    text: str
    end: int  # bytes of the file up to its end


def _pieces(path: Path) -> Iterator[tuple[_Piece, int]]:
    """The decoded pieces of a file without its byte order mark, each with the number of the line in which it begins."""
    line, line_bytes, end = 1, 0, 0  # line_bytes: of the line's part before this piece
    rest = b""
    with path.open("rb") as file:
        while True:
            read = file.read(_PIECE_BYTES)
            if end == 0 and read.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise _utf16(path, read[0])
            end += len(read)
            data = rest + (read.removeprefix(codecs.BOM_UTF8) if end == len(read) else read)
            try:
                text, n_decoded = codecs.utf_8_decode(data, "strict", not read)
            except UnicodeDecodeError as error:
                before = data[: error.start]
                place = error.start - (before.rfind(b"\n") + 1) + 1 + (line_bytes if b"\n" not in before else 0)
                raise _not_utf8(path, error, line + before.count(b"\n"), place) from None
            yield _Piece(text, end), line
            if not read:
                return
            decoded, rest = data[:n_decoded], data[n_decoded:]
            line += decoded.count(b"\n")
            line_bytes = len(decoded) - (decoded.rfind(b"\n") + 1) + (line_bytes if b"\n" not in decoded else 0)


def _utf16(path: Path, byte: int) -> DataError:
    return DataError(
        f"{path} is not UTF-8: line 1, byte 1 is 0x{byte:02X}.",
        cause="Its byte order mark says that it is UTF-16 (Excel's 'Unicode text').",
        remedy=_reencode(path, "UTF-16"),
    )


def _not_utf8(path: Path, error: UnicodeDecodeError, line: int, place: int) -> DataError:
    encoding = _probable_encoding(path)
    return DataError(
        f"{path} is not UTF-8: line {line}, byte {place} of the line is 0x{error.object[error.start]:02X}.",
        cause="The file ends in the middle of a character, so it is probably cut off."
        if error.reason == "unexpected end of data"
        else f"It is probably encoded as {encoding or 'a non-Latin code page (GB18030, Shift-JIS, CP1251, ...)'}.",
        remedy=_reencode(path, encoding or "ENCODING"),
    )


def _probable_encoding(path: Path) -> str | None:
    """Windows-1252 if the file decodes as such and is mostly ASCII, as Western texts are; None if unclear."""
    with path.open("rb") as file:
        start = file.read(_JUDGED_BYTES)
        if sum(byte >= 0x80 for byte in start) > _MANY_HIGH_BYTES * len(start):
            return None
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            if len(piece.translate(None, _UNDEFINED_IN_WINDOWS_1252)) < len(piece):
                return None
    return "WINDOWS-1252"


def _reencode(path: Path, encoding: str) -> str:
    return f"Save it as UTF-8, for example: iconv -f {encoding} -t UTF-8 {path} > utf8{path.suffix}"


def empty_file(path: Path, what: str) -> DataError:
    """The error of a file without rows."""
    return DataError(
        f"{path} {what}.",
        cause="There is no row to learn from or to predict.",
        remedy="Check the export that wrote it; the first line names the columns, each further line is one example.",
    )


def refuse_repeated_columns(names: list[str], path: Path | str) -> None:
    """Raise DataError if two columns have the same name."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        places = "; ".join(f"{r!r} is column {[i + 1 for i, n in enumerate(names) if n == r]}" for r in repeated[:5])
        raise DataError(
            f"{path} has several columns with the same name: {places}.",
            cause="It would be left to chance which of them is read.",
            remedy="Rename or remove all but one.",
        )

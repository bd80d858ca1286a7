"""zstd, bounded: nothing that was packed elsewhere takes more memory or disk than its reader allows.

By Python's own module, before 3.14 by its backport, which is a twelfth of the size of the other bindings.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DAMAGE = (zstd.ZstdError, EOFError)
"""What reading raises if the data isn't zstd's, is damaged, or ends too early."""

_LARGEST_WINDOW = 27  # as a power of two: the bytes of memory that a frame may ask for
_CHUNK = 1 << 20


def pack(content: bytes, level: int) -> bytes:
    """Return one frame, which says how much it holds."""
    return zstd.compress(content, level)


def unpack(frame: bytes, limit: int) -> bytes:
    """Return the content of one frame.

    Raises:
        DAMAGE: it isn't one whole frame that says how much it holds, at most ``limit`` bytes.
    """
    size = zstd.get_frame_info(frame).decompressed_size
    if size is None or size > limit:
        raise zstd.ZstdError("it is larger than it may be, or doesn't say how large it is")
    decompressor = zstd.ZstdDecompressor(options=_bounded())
    content = decompressor.decompress(frame, max_length=size + 1)
    if not decompressor.eof or decompressor.unused_data:
        raise zstd.ZstdError("it ends too early, or more follows")
    return content


def copy_packed(source: BinaryIO, out: BinaryIO, size: int, level: int) -> None:
    """Pack what ``source`` holds, ``size`` bytes, with a checksum.

    Raises:
        DAMAGE: it holds more or less.
    """
    compressor = zstd.ZstdCompressor(options=_checked(level))
    compressor.set_pledged_input_size(size)
    while chunk := source.read(_CHUNK):
        out.write(compressor.compress(chunk))
    out.write(compressor.flush(compressor.FLUSH_FRAME))


def writer(out: BinaryIO, level: int) -> zstd.ZstdFile:
    """Return a file that packs what is written to it, with a checksum; ``out`` stays open."""
    return zstd.ZstdFile(out, "wb", options=_checked(level))


def reader(source: BinaryIO) -> zstd.ZstdFile:
    """Return a file that unpacks what ``source`` holds, as it is read; reading raises ``DAMAGE``."""
    return zstd.ZstdFile(source, "rb", options=_bounded())


def _checked(level: int) -> dict[int, int]:
    return {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}


def _bounded() -> dict[int, int]:
    return {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}

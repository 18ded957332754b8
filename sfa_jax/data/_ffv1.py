"""The checksums of FFV1 video, of which FFmpeg's decoder only writes to its log that they are wrong."""

import zlib

_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
# What the register starts and ends with, bits reversed, in the two ways to protect slices.
_REGISTERS = 0, 0x5E31029E
_FOOTER_BYTES, _BARE_FOOTER_BYTES = 8, 3


class SliceChecker:
    """Compares the checksums of packets of version 3 or later, where the file has any."""

    def __init__(self) -> None:
        self._footer_bytes = 0

    def is_damaged(self, packet: bytes) -> bool:
        """Whether a packet is not as it was written."""
        if not self._footer_bytes:
            # Only one of the two lengths of a footer leads from the end of a packet to its start, slice by slice.
            lengths = _FOOTER_BYTES, _BARE_FOOTER_BYTES
            self._footer_bytes = next((length for length in lengths if _slices(packet, length)), _FOOTER_BYTES)
        slices = _slices(packet, self._footer_bytes)
        if self._footer_bytes == _BARE_FOOTER_BYTES:
            return not slices
        return not slices or not any(all(_fits(part, register) for part in slices) for register in _REGISTERS)


def _slices(packet: bytes, footer_bytes: int) -> list[bytes]:
    """The slices of a packet with their footers; none where their sizes do not add up."""
    found, end = [], len(packet)
    while end > 0:
        place = end - footer_bytes
        start = place - int.from_bytes(packet[max(place, 0) : max(place, 0) + 3], "big")
        if start < 0:
            return []
        found.append(packet[start:end])
        end = start
    return found


def _fits(part: bytes, register: int) -> bool:
    # FFV1 takes the highest bit of each byte first and does not invert the register, zlib does both otherwise.
    return zlib.crc32(part.translate(_REVERSED), register ^ 0xFFFFFFFF) ^ 0xFFFFFFFF == register

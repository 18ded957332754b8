"""Frames of a video stream in the order that they are shown, and what of the stream cannot be decoded.

FFmpeg tells of damage in four ways: it refuses a packet, it marks a packet or a frame as corrupt, and it writes to its
log. Each packet gets a number that its frame carries, so that what is said of a packet is known of its frame, which may
come some packets later, and what gives no frame is missed at its place.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from sfa_jax._errors import DamagedError
from sfa_jax.data._source import Note

REPAIR = "re-encode it, for instance with `ffmpeg -i in -c:v libx264 out.mp4`, and check what is left of it"
# It marks the frames that it could not decode whole. What it only complains of is harmless, or lost.
_MARKS_ALL = "h264"


class _Trouble(NamedTuple):
    """What is wrong with a packet, or before it.

    Attributes:
      place: of its frame among the others.
      reason: what FFmpeg says.
      lost: whether its frame is lost for sure.
      n_frames: how many are lost with it, None where nobody knows.
    """

    place: float
    reason: str
    lost: bool
    n_frames: int | None = 1


class Decoder:
    """Decodes a stream of a container once.

    Args:
      name: what messages call the file.
      container: open, at its start.
      stream: of the container.
      codec: the open context that decodes it.
    """

    def __init__(self, name: str, container: Any, stream: Any, codec: Any) -> None:
        self._name, self._container, self._stream, self._codec = name, container, stream, codec
        self._places: dict[int, float] = {}  # of packets, by their number
        self._troubles: dict[int, _Trouble] = {}  # of packets, until their place is reached
        self._n_packets = self._n_shown = self._n_lost = 0
        self._n_complaints = self._n_forgiven = 0  # of frames, and of those that are given all the same
        self._forgiven = ""  # the first of these
        self._is_predicted = False  # from damage, as frames are up to the next key frame
        self._n_predicted = 0

    @property
    def number(self) -> int:
        """Number of the next frame, those that are lost among them."""
        return self._n_shown + self._n_lost

    def frames(self) -> Iterator[Any]:
        """Decodes the stream: frames, a `DamagedError` in the place of each that is lost, and notes at the end."""
        import av

        packets = self._container.demux(self._stream)
        for number in itertools.count():
            refused = ""
            with _listening() as logs:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError as error:
                    packet, refused = None, _reason(error)
            is_empty = packet is not None and not packet.size  # stands for no frame, or for the end
            place = math.inf if packet is None or is_empty else self._place(packet, number)
            refused = next((text for who, text in logs if who == self._container.format.name), refused)
            if refused:  # what is missing belongs before this packet
                self._troubles[-1 - number] = _Trouble(place - 0.5, refused, True, n_frames=None)
            if not is_empty:
                yield from self._decode(packet, number, place)
            if packet is None:
                break
        yield from self._passed(math.inf, at_end=True)
        yield from self._missed(math.inf)
        yield from self._end()

    def _decode(self, packet: Any, number: int, place: float) -> Iterator[Any]:
        import av

        refused = ""
        if packet is not None:
            packet.opaque = number
            if not packet.is_discard:
                self._places[number] = place
                self._n_packets += 1
            refused = "the packet is marked as damaged" if packet.is_corrupt else ""
        frames: list[Any] = []
        with _listening() as logs:
            try:
                frames = self._codec.decode(packet)
            except av.error.EOFError:
                pass
            except av.error.FFmpegError as error:
                refused = _reason(error)
        if refused or (logs and packet is not None):
            reason = f"{logs[0][0]}: {logs[0][1]}" if logs else refused
            self._troubles[number] = _Trouble(place, reason, bool(refused))
        for frame in frames:
            yield from self._show(frame, number)

    def _show(self, frame: Any, number: int) -> Iterator[Any]:
        number = number if frame.opaque is None else frame.opaque  # a few decoders do not hand it on
        place = self._places.pop(number, None)
        if place is not None:
            yield from self._passed(place)
            yield from self._missed(place)
        trouble = self._troubles.pop(number, None)
        reason = trouble.reason if trouble is not None else "the decoder marks it as damaged"
        is_rare = self._is_rare()
        self._n_complaints += trouble is not None
        if frame.is_corrupt or (trouble is not None and (trouble.lost or is_rare)):
            yield self._damage(reason, 1)
            return
        if trouble is not None:
            self._forgiven = self._forgiven or f"frame {self.number}: {reason}"
            self._n_forgiven += 1
        self._is_predicted = self._is_predicted and not frame.key_frame
        self._n_predicted += self._is_predicted
        self._n_shown += 1
        yield frame

    def _is_rare(self) -> bool:
        """Whether complaints tell of damage; those about most frames are a habit of the stream."""
        return self._codec.name != _MARKS_ALL and 2 * self._n_complaints <= self.number

    def _passed(self, place: float, at_end: bool = False) -> Iterator[DamagedError]:
        """Gives errors for packets in trouble whose frames should have come before a place, and have not."""
        items = [(found.place, number) for number, found in self._troubles.items() if at_end or found.place < place]
        for _, number in sorted(items):
            trouble = self._troubles.pop(number)
            self._places.pop(number, None)
            yield self._damage(trouble.reason, trouble.n_frames)

    def _missed(self, place: float) -> Iterator[DamagedError | Note]:
        """Tells of packets that gave no frame because what they are predicted from is damaged or not there."""
        # Elsewhere such are no error: some hold half a frame, or one that is only referred to.
        missed = [number for number, found in self._places.items() if found < place]
        for number in missed:
            del self._places[number]
        if missed and self._is_predicted:
            yield self._damage("frames that follow damage cannot be decoded", len(missed))
        elif missed and not self._n_shown:
            yield Note(
                f"{self._name}: {len(missed)} frames before the first key frame cannot be decoded, as when a recording "
                "starts amid a broadcast; they are left out"
            )

    def _damage(self, reason: str, n_frames: int | None) -> DamagedError:
        said = f"{self._name} is damaged at frame {self.number} ({reason})"
        self._n_lost += n_frames or 0
        self._is_predicted = True
        return DamagedError(said, REPAIR, n_frames)

    def _end(self) -> Iterator[DamagedError | Note]:
        n_silent = min(self._n_packets - self._n_shown - self._n_lost, self._n_forgiven)
        if n_silent > 0:
            yield DamagedError(
                f"{self._name} has {n_silent} packets without a frame ({self._forgiven})", REPAIR, n_silent
            )
        elif self._n_forgiven:
            yield Note(
                f"{self._name}: the decoder complains about {self._n_forgiven} of {self._n_shown} frames, which may "
                f"show damage ({self._forgiven})"
            )
        if self._n_predicted:
            yield Note(
                f"{self._name}: {self._n_predicted} frames that follow damage, up to the next key frame, are predicted "
                "from it and may show it"
            )

    def _place(self, packet: Any, number: int) -> float:
        """Gives what frames are in order of: times, or the order of packets where there are none."""
        return next((float(x) for x in (packet.pts, packet.dts) if x is not None), float(number))


@contextlib.contextmanager
def _listening() -> Iterator[list[tuple[str, str]]]:
    """Collects what FFmpeg logs as errors meanwhile: who says it, and what."""
    import av.logging

    said: list[tuple[str, str]] = []
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as logs:  # some decoders have threads of their own
            yield said
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
        said.extend((who, " ".join(text.split())) for _, who, text in logs)


def _reason(error: Any) -> str:
    return error.strerror or str(error) or type(error).__name__

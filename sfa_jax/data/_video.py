"""Video files, decoded with PyAV in decode order, one frame at a time.

Headers are not trusted: the number of frames is what decodes. But a file that breaks midway is refused, never silently
shortened, and so is one in which the decoder meets any error. Two kinds of damage cannot be seen: wrong bits that still
decode to some picture, and a stream without a header of its length that just stops, as a broadcast may.
"""

import logging
import os
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._containers import find_missing, is_gif
from sfa_jax.data._ffv1 import SliceChecker
from sfa_jax.data._limits import MAX_FRAME_PIXELS, check_frame_pixels
from sfa_jax.data._source import THUMBNAIL_SIZE, Estimate, Note, Options, Picture, luma, thumbnail

if TYPE_CHECKING:
    import av

logger = logging.getLogger("sfa_jax")

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv"}
    | {".ogv", ".ogg", ".3gp", ".gif", ".y4m", ".h264", ".264", ".hevc", ".265", ".mjpeg", ".mjpg", ".vob", ".divx"}
)
# A text that names other files, which FFmpeg would read and whose change nobody would notice, is not among these.
_FORMATS = (
    "mov,avi,matroska,mpeg,mpegts,mpegvideo,asf,flv,ogg,gif,apng,yuv4mpegpipe,h261,h263,h264,hevc,vvc,evc,av1,obu,ivf,"
    "mjpeg,mpjpeg,smjpeg,m4v,nut,mxf,rm,dv,wtv,swf,gxf,nsv,vc1,dirac,cavsvideo"
)
# By itself a decoder covers up many errors that it sees: wrong checksums, and pictures of which a part is lost.
_DECODER = {"err_detect": "crccheck+explode", "max_pixels": str(MAX_FRAME_PIXELS)}
# Recordings of variable rate pause legitimately; where a damaged Matroska file skips a part, it looks the same.
_GAP_SECONDS = 2.0
_REPAIR = "re-encode it, for instance with `ffmpeg -i in -c:v libx264 out.mp4`, and check what is left of it"
# Thumbnails are made from the resized frame where it is between these sides, else straight from the decoded one.
_THUMBNAIL_FROM = THUMBNAIL_SIZE, 256


class VideoFile:
    """The frames of one video file."""

    def __init__(self, path: str) -> None:
        self.name = path

    def signature(self) -> list[list[object]]:
        stat = os.stat(self.name)
        return [[os.path.abspath(self.name), stat.st_size, stat.st_mtime_ns]]

    def estimate(self, options: Options) -> Estimate:
        with self._open() as container:
            stream = self._stream(container)
            seconds = _duration(stream) or float(container.duration or 0) / 1e6
            n_frames = stream.frames or round(seconds * float(stream.average_rate or 25))
            height, width = options.height or stream.height, options.width or stream.width
            channels = 1 if options.greyscale else 3
            return Estimate(-(-n_frames // options.stride), height * width * channels, exact=False)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        scaler = _Scaler(self.name, options)
        try:
            for number, frame in enumerate(self._decoded()):
                yield scaler.picture(number, frame)
        except DamagedError as error:
            yield error

    def _decoded(self) -> Iterator["av.VideoFrame"]:
        n_packets, n_good = yield from self._frames("AUTO")
        if n_packets > n_good:
            # PyAV keeps an error to itself that comes after a frame in one call, as with several threads at the end. A
            # decoder of one thread, slow as it is, tells of each. Packets without a frame are no error in some codecs.
            n_packets, n_good = _finish(self._frames("NONE"))
            if n_packets > 2 * n_good:  # two fields of a frame may be a packet each
                raise self._damaged(n_good, f"of {n_packets} packets only {n_good} give a frame")

    def _frames(self, thread_type: str) -> Generator["av.VideoFrame", None, tuple[int, int]]:
        """The frames, and at the end how many packets there were, and frames."""
        n_packets, n_good, end, read_to = 0, 0, 0.0, 0
        with self._open() as container:
            stream = self._stream(container)
            try:
                stream.codec_context.options = _DECODER
                stream.thread_type = thread_type
                checksums = SliceChecker() if _has_checksums(stream.codec_context) else None
                for packet in container.demux(stream):
                    if packet.is_corrupt or (checksums and packet.size and checksums.is_damaged(bytes(packet))):
                        raise self._damaged(n_good, "a packet is damaged")
                    if packet.size:
                        n_packets += not packet.is_discard
                        read_to = packet.size + (packet.pos or 0)
                    for frame in packet.decode():
                        if frame.is_corrupt:
                            raise self._damaged(n_good, "the frame is damaged")
                        time = end if frame.time is None else frame.time
                        if n_good and time > end + _GAP_SECONDS and thread_type == "AUTO":  # is said once
                            logger.warning(
                                "%s has no frames from %.2f to %.2f s (before frame %d)", self.name, end, time, n_good
                            )
                        end = max(end, time)
                        n_good += 1
                        yield frame
            except InputError:
                raise
            except Exception as error:  # FFmpegError; what else PyAV raises on damaged files is not documented
                raise self._damaged(n_good, _reason(error)) from error
            if container.format.name == "yuv4mpegpipe" and read_to != os.path.getsize(self.name):
                raise self._damaged(n_good, "it ends within the frame")
            # Where a container loses its way after damage it just ends; only the time then tells.
            seconds = _duration(stream)
            if container.format.name == "flv" and container.duration:  # that of others may be a guess
                seconds = container.duration / 1e6
            end -= float((stream.start_time or 0) * (stream.time_base or 0))
            if n_good and end < 0.9 * seconds - 1.0 / float(stream.average_rate or 25):
                raise self._damaged(n_good, f"the frames end at {end:.2f} s, the header says {seconds:.2f} s")
        if not n_good:
            raise DamagedError(f"{self.name} has no frame that can be decoded", _REPAIR)
        return n_packets, n_good

    def _damaged(self, number: int, reason: str) -> DamagedError:
        large = "" if number else f", or its frames have more than the {MAX_FRAME_PIXELS} pixels that are read at most"
        return DamagedError(f"{self.name} is damaged at frame {number} ({reason}){large}", _REPAIR, n_frames=None)

    def _open(self) -> "av.container.InputContainer":
        av = _import_av()
        try:
            missing = find_missing(self.name)
        except OSError as error:
            raise DamagedError(f"{self.name} cannot be read ({_reason(error)})", "give another file") from error
        if missing:
            raise DamagedError(
                f"{self.name} ends early: {missing}, so it was not copied or recorded to its end",
                f"copy it again, or {_REPAIR}",
            )
        try:
            container = av.open(
                os.path.abspath(self.name),
                options={"format_whitelist": _FORMATS, "protocol_whitelist": "file", **_DECODER},
                metadata_errors="replace",
            )
        except Exception as error:  # FFmpegError; what else PyAV raises on damaged files is not documented
            raise DamagedError(
                f"{self.name} cannot be opened as a video ({_reason(error)}): it is no video, not a whole one, or one "
                f"of frames above {MAX_FRAME_PIXELS} pixels",
                f"give another file, or {_REPAIR}",
            ) from error
        if container.format.name == "gif" and not is_gif(self.name):  # FFmpeg looks on for one behind what is lost
            raise DamagedError(f"{self.name} does not begin as a GIF", f"copy it again, or {_REPAIR}")
        return container

    def _stream(self, container: Any) -> Any:
        cover = _import_av().stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise DamagedError(f"{self.name} has no video stream (only sound or pictures)", "give a video file")
        stream = streams[0]
        if stream.codec_context is None:
            raise DamagedError(f"{self.name} is coded in a way that PyAV cannot decode", _REPAIR)
        check_frame_pixels(self.name, stream.height, stream.width)
        return stream


class _Scaler:
    """Turns decoded frames into pictures; each of its reformatters keeps one scaling context for the whole file."""

    def __init__(self, name: str, options: Options) -> None:
        av = _import_av()
        self._name, self._options = name, options
        self._frames, self._thumbnails = (av.video.reformatter.VideoReformatter() for _ in range(2))
        self._size: tuple[int, int] | None = None

    def picture(self, number: int, frame: "av.VideoFrame") -> Picture:
        options = self._options
        upright = (frame.width, frame.height) if _turns(frame) % 2 else (frame.height, frame.width)
        size = (options.height, options.width) if options.height else upright
        if self._size not in (None, size):
            raise InputError(
                f"{self._name}: frame {number} is {size[1]}x{size[0]} pixels, the frames before it are "
                f"{self._size[1]}x{self._size[0]}; set image_size to resize all of them"
            )
        self._size = size
        low, high = _THUMBNAIL_FROM
        small_enough = low <= min(size) and max(size) <= high
        kept = number % options.stride == 0
        image = None
        if kept or (options.split_cuts and small_enough):
            image = _pixels(self._frames, frame, *size)
        small = None
        if options.split_cuts:
            if image is not None and small_enough:
                small = image
            else:
                small = _pixels(self._thumbnails, frame, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
            small = thumbnail(Image.fromarray(small))
        if image is None or not kept:
            return Picture(number, None, small)
        return Picture(number, luma(image) if options.greyscale else image, small)


def _pixels(reformatter: Any, frame: "av.VideoFrame", height: int, width: int) -> np.ndarray:
    """RGB uint8 `[height, width, 3]`, area-averaged, upright."""
    turns = _turns(frame)
    if turns % 2:
        height, width = width, height
    scaled = reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA")
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), turns)) if turns else scaled.to_ndarray()


def _turns(frame: "av.VideoFrame") -> int:
    """Quarter turns to the left that the file asks for, as telephones write it."""
    return round(frame.rotation / 90) % 4


def _duration(stream: Any) -> float:
    """Seconds that the stream's own header gives it; 0 where it says nothing."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska writes 00:00:04.000000000
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9}):(\d{1,9}(?:\.\d*)?)", stream.metadata.get("DURATION", ""), re.ASCII)
    return 3600 * float(found[1]) + 60 * float(found[2]) + float(found[3]) if found else 0.0


def _finish(frames: Generator[Any, None, tuple[int, int]]) -> tuple[int, int]:
    """Runs through frames and keeps none of them, but what is told at their end."""
    while True:
        try:
            next(frames)
        except StopIteration as stopped:
            return stopped.value


def _has_checksums(codec: Any) -> bool:
    return codec.name == "ffv1" and bool(codec.extradata)  # which version 3 brought, with the checksums


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _import_av() -> Any:
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise InputError("video files need PyAV; install it with `pip install 'sfa_jax[video]'`") from error
    return av

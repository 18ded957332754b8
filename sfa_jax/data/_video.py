"""Video files and animations, decoded with PyAV in decode order, one frame at a time.

What decodes is read; what FFmpeg refuses or marks as damaged is left out and counted. Headers are not trusted: the
number of frames is what decodes, and where the header promises much more time, a warning says so.

Damage that nobody notices: wrong bits that still decode to some picture, as in VP8, VP9, HEVC, WMV, JPEG, Huffyuv, raw
and old FFV1 video, which have no checksums; a file without a length in its header that just stops between two frames,
as MPEG transport and program streams, Y4M and GIF may; packets that are missing, of which only a jump of the times is
told; a GIF whose rest is skipped behind a damaged part.
"""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._decoding import REPAIR, Decoder
from sfa_jax.data._frame_times import FrameTimes
from sfa_jax.data._limits import MAX_FRAME_PIXELS, check_frame_pixels
from sfa_jax.data._source import Estimate, Note, Options, Picture, make_picture
from sfa_jax.data._video_colors import FrameConverter

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv"}
    | {".ogv", ".ogg", ".3gp", ".gif", ".y4m", ".h264", ".264", ".hevc", ".265", ".mjpeg", ".mjpg", ".vob"}
    | {".divx", ".mxf", ".ivf", ".nut", ".obu", ".mpe", ".m2v", ".mpv", ".dv", ".f4v"}
)
# A text that names other files, which FFmpeg would read and whose change nobody would notice, is not among these.
_FORMATS = (
    "mov,avi,matroska,mpeg,mpegts,mpegvideo,asf,flv,ogg,gif,apng,yuv4mpegpipe,h261,h263,h264,hevc,vvc,evc,av1,obu,ivf,"
    "mjpeg,mpjpeg,smjpeg,m4v,nut,mxf,rm,dv,wtv,swf,gxf,nsv,vc1,dirac,cavsvideo"
)
_DECODER = {"err_detect": "crccheck", "max_pixels": str(MAX_FRAME_PIXELS)}
# FFmpeg's own decoders of these do not see the transparency that lies beside the colors.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_SHORT = 0.9  # of the time that the header promises


class VideoFile:
    """The frames of one video file, GIF or animated PNG."""

    def __init__(self, path: str) -> None:
        self.name = path

    def signature(self) -> list[list[object]]:
        stat = os.stat(self.name)
        return [[os.path.abspath(self.name), stat.st_size, stat.st_mtime_ns]]

    def estimate(self, options: Options) -> Estimate:
        with self._open() as container:
            stream = self._streams(container)[0]
            n_frames = stream.frames or round(_seconds(container, stream) * float(stream.average_rate or 25))
            height, width = options.height or stream.height, options.width or stream.width
            channels = 1 if options.greyscale else 3
            return Estimate(-(-n_frames // options.stride), height * width * channels, exact=False)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        with self._open() as container:
            stream, *others = self._streams(container)
            if others:
                yield Note(f"{self.name} has {1 + len(others)} video streams; the first is read")
            converter = FrameConverter(self.name, stream)
            unit = float(stream.time_base or 0)
            start, end = (stream.start_time or 0) * unit, 0.0
            times = FrameTimes(self.name, unit)
            decoder = Decoder(self.name, container, stream, _codec(stream))
            for frame in decoder.frames():
                if isinstance(frame, (DamagedError, Note)):
                    times.interrupt()
                    yield frame
                    continue
                number = decoder.number - 1
                time = times.add(None if frame.pts is None else float(frame.pts * unit - start), number)
                end = max(end, (time or 0.0) + (frame.duration or 0) * unit)
                if number % options.stride and not options.split_cuts:
                    yield Picture(number, None, None)
                    continue
                try:
                    picture, shown = converter.convert(frame, number)
                except _import_av().error.FFmpegError as error:
                    yield DamagedError(
                        f"{self.name}: the pixels of frame {number}, {frame.format.name}, cannot be converted "
                        f"({error.strerror})",
                        REPAIR,
                    )
                    continue
                yield make_picture(number, picture, options, time=time, shown=shown)
            if not decoder.number:
                raise DamagedError(f"{self.name} has no frame that can be decoded", REPAIR)
            seconds = _promised(container, stream)
            if 0 < end < _SHORT * seconds - 1 / float(stream.average_rate or 25):
                yield Note(
                    f"{self.name}: the frames end at {end:.2f} s, the header says {seconds:.2f} s: it was cut off, "
                    "or its last frame is held"
                )
        yield from converter.notes()
        yield from times.notes()

    def _open(self) -> "av.container.InputContainer":
        av = _import_av()
        options: dict[str, Any] = {
            "options": {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_pixels": str(MAX_FRAME_PIXELS)}
        }
        path = os.path.abspath(self.name)
        try:
            try:
                return av.open(path, **options)
            except UnicodeDecodeError:  # of a title; PyAV 19 replaces such letters by itself
                return av.open(path, **options, metadata_errors="replace")
        except (av.error.FFmpegError, OSError) as error:
            raise DamagedError(
                f"{self.name} cannot be opened as a video ({error.strerror or error}): it is no video, not a whole "
                f"one, or one of frames above {MAX_FRAME_PIXELS} pixels",
                f"give another file, or {REPAIR}",
            ) from error

    def _streams(self, container: Any) -> list[Any]:
        """Finds the video streams, of which the first is read; pictures of a cover are none."""
        cover = _import_av().stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise DamagedError(f"{self.name} has no video stream (only sound or pictures)", "give a video file")
        if streams[0].codec_context is None:
            raise DamagedError(f"{self.name} is coded in a way that PyAV cannot decode", REPAIR)
        check_frame_pixels(self.name, streams[0].height, streams[0].width)
        return streams


def _codec(stream: Any) -> Any:
    """Makes the context that decodes a stream."""
    codec = stream.codec_context
    metadata = {key.lower(): value for key, value in stream.metadata.items()}
    if metadata.get("alpha_mode") == "1" and codec.name in _WITH_ALPHA:
        codec = _import_av().CodecContext.create(_WITH_ALPHA[codec.name], "r")
        codec.extradata = stream.codec_context.extradata
    codec.options = _DECODER
    codec.copy_opaque = True
    codec.thread_type = "SLICE"  # several frames at once would mix up which of them an error is about
    return codec


def _seconds(container: Any, stream: Any) -> float:
    """Reads the seconds that the header gives a stream; 0 where it says nothing."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska writes 00:00:04.000000000
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9}):(\d{1,9}(?:\.\d*)?)", stream.metadata.get("DURATION", ""), re.ASCII)
    if found:
        return 3600 * float(found[1]) + 60 * float(found[2]) + float(found[3])
    return float(container.duration or 0) / 1e6


def _promised(container: Any, stream: Any) -> float:
    """Reads the seconds that frames should last; 0 where nobody knows."""
    seconds = _seconds(container, stream)
    if container.format.name != "avi" or not stream.average_rate:
        return seconds
    # AVI counts the time in which a frame is held as frames; where the index at its end is lost, FFmpeg counts again.
    counted = stream.frames / float(stream.average_rate)
    return counted if seconds < _SHORT * counted else 0.0


def _import_av() -> Any:
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise InputError(
            f"video files and animations need PyAV ({error}); install it with `pip install 'sfa_jax[video]'`"
        ) from error
    return av

"""Sources of video and images, each giving runs of uint8 frames, and the clips drawn from them."""

from sfa_jax.data._cache import cache_root as cache_root
from sfa_jax.data._clips import Batch as Batch
from sfa_jax.data._clips import ClipSampler as ClipSampler
from sfa_jax.data._digit_film import digit_film as digit_film
from sfa_jax.data._digits import digits as digits
from sfa_jax.data._load import load as load
from sfa_jax.data._photo_pan import photo_pan as photo_pan
from sfa_jax.data._photographs import photographs as photographs
from sfa_jax.data._pipeline import Reader as Reader
from sfa_jax.data._pipeline import ReaderError as ReaderError
from sfa_jax.data._pipeline import ReadOptions as ReadOptions
from sfa_jax.data._pipeline import StalledError as StalledError
from sfa_jax.data._prepare import prepare as prepare
from sfa_jax.data._room import MOVEMENTS as MOVEMENTS
from sfa_jax.data._room import Movement as Movement
from sfa_jax.data._room import room as room
from sfa_jax.data._runs import Run as Run
from sfa_jax.data._splits import HOLDOUTS as HOLDOUTS
from sfa_jax.data._splits import Split as Split
from sfa_jax.data._splits import hold_out_all as hold_out_all
from sfa_jax.data._splits import split_sequences as split_sequences
from sfa_jax.data._splits import train_all as train_all
from sfa_jax.data._store import FrameStore as FrameStore
from sfa_jax.data._store import evenly_spaced as evenly_spaced

__all__ = [
    "HOLDOUTS",
    "MOVEMENTS",
    "Batch",
    "ClipSampler",
    "FrameStore",
    "Movement",
    "ReadOptions",
    "Reader",
    "ReaderError",
    "Run",
    "Split",
    "StalledError",
    "cache_root",
    "digit_film",
    "digits",
    "evenly_spaced",
    "hold_out_all",
    "load",
    "photo_pan",
    "photographs",
    "prepare",
    "room",
    "split_sequences",
    "train_all",
]

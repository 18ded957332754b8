"""Networks that several rooms share: convolutional encoder, recurrent head, and the slow network made of both.

Products of layers have the precision that is JAX's default for the device, on GPUs TF32 (`jax.default_matmul_precision`
sets another): they are trained as they are. What decides a result beside a network states its own.

Sharded batches need a mesh of `AxisType.Auto`; inside `jax.shard_map` networks need `check_vma=False`.
"""

from sfa_jax.nets._attention_pool import AttentionPool as AttentionPool
from sfa_jax.nets._cells import CELLS as CELLS
from sfa_jax.nets._cells import cell_scan as cell_scan
from sfa_jax.nets._cells import cell_step as cell_step
from sfa_jax.nets._cells import init_cell as init_cell
from sfa_jax.nets._cells import init_cell_carry as init_cell_carry
from sfa_jax.nets._conv import conv2d as conv2d
from sfa_jax.nets._encoder import POOLS as POOLS
from sfa_jax.nets._encoder import ConvEncoder as ConvEncoder
from sfa_jax.nets._encoder import pool_features as pool_features
from sfa_jax.nets._grid_encoder import GridEncoder as GridEncoder
from sfa_jax.nets._network import SlowNetwork as SlowNetwork
from sfa_jax.nets._normalise import without_nan as without_nan
from sfa_jax.nets._pooling import POOL_KINDS as POOL_KINDS
from sfa_jax.nets._pooling import pool2d as pool2d
from sfa_jax.nets._recurrent import apply_head as apply_head
from sfa_jax.nets._recurrent import init_head as init_head
from sfa_jax.nets._recurrent import recurrent_scan as recurrent_scan
from sfa_jax.nets._recurrent import recurrent_step as recurrent_step
from sfa_jax.nets._transposed import conv_transpose2d as conv_transpose2d
from sfa_jax.nets._transposed import transposed_init as transposed_init
from sfa_jax.nets._upsampling import UpsamplingDecoder as UpsamplingDecoder

__all__ = [
    "CELLS",
    "POOLS",
    "POOL_KINDS",
    "AttentionPool",
    "ConvEncoder",
    "GridEncoder",
    "SlowNetwork",
    "UpsamplingDecoder",
    "apply_head",
    "cell_scan",
    "cell_step",
    "conv2d",
    "conv_transpose2d",
    "init_cell",
    "init_cell_carry",
    "init_head",
    "pool2d",
    "pool_features",
    "recurrent_scan",
    "recurrent_step",
    "transposed_init",
    "without_nan",
]

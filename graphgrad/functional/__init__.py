"""Functions of tensors that networks are made of; ``graphgrad.nn.functional`` is this package."""

from typing import Any

from graphgrad.functional.activation import (
    celu,
    elu,
    gelu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from graphgrad.functional.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
)
from graphgrad.functional.attention import (
    multi_head_attention_forward,
    scaled_dot_product_attention,
)
from graphgrad.functional.bags import embedding_bag
from graphgrad.functional.classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    soft_margin_loss,
)
from graphgrad.functional.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from graphgrad.functional.ctc import ctc_loss
from graphgrad.functional.dense import bilinear, embedding, linear, one_hot
from graphgrad.functional.distances import pdist
from graphgrad.functional.dropping import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from graphgrad.functional.fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from graphgrad.functional.loss import (
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from graphgrad.functional.names import (
    celu_,
    elu_,
    hardtanh_,
    leaky_relu_,
    relu_,
    rrelu_,
    selu_,
    threshold_,
)
from graphgrad.functional.normalization import (
    batch_norm,
    cosine_similarity,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    pairwise_distance,
    rms_norm,
)
from graphgrad.functional.padding import pad
from graphgrad.functional.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from graphgrad.functional.projected import linear_cross_entropy
from graphgrad.functional.resampling import (
    channel_shuffle,
    interpolate,
    native_channel_shuffle,
    pixel_shuffle,
    pixel_unshuffle,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from graphgrad.functional.sampling import affine_grid, grid_sample
from graphgrad.functional.sliding import fold, max_unpool1d, max_unpool2d, max_unpool3d, unfold
from graphgrad.nearest import names_of
from graphgrad.tensor.core import FUNCTIONS

# What ``torch.functional`` offers besides: functions of ``graphgrad`` itself.
_OF_TENSORS = frozenset(
    "atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors cartesian_prod "
    "cdist chain_matmul einsum istft lu lu_unpack meshgrid norm pca_lowrank split stft svd_lowrank "
    "tensordot unique unique_consecutive unravel_index".split()
)


def __getattr__(name: str) -> Any:
    if name in _OF_TENSORS and name in FUNCTIONS:
        return FUNCTIONS[name]
    return _no_name(name)


_no_name = names_of("graphgrad.nn.functional", globals())

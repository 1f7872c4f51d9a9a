"""Operations that multiply no data by data: views, and what scales, normalises, compares, adds up, moves or draws.

The list says what is known to be harmless, so that whatever is new or foreign is not.
"""

from typing import Any

import torch

# What multiplies nothing, besides views and what torch tags as pointwise: names without leading and trailing
# underscores, and without "_copy", "_like", "_functional" and "_scatter" at their end.
MOVES = """
    alias arange as_strided assert_async bartlett_window blackman_window block_diag cat channel_shuffle chunk_cat
    clone coalesce col2im complex constant_pad_nd conj contiguous copy copy_from copy_from_and_resize detach
    diag_embed diagonal dropout embedding empty empty_permuted empty_strided expand eye fill flip full
    functional_assert_async functional_assert_scalar gather hamming_window hann_window im2col index index_add
    index_fill index_put index_put_impl index_reduce index_select jagged_to_padded_dense_forward kaiser_window lift
    lift_fresh linspace local_scalar_dense logspace masked masked_fill masked_scatter masked_select narrow new_empty
    new_empty_strided new_full new_ones new_zeros nonzero nonzero_static ones padded_dense_to_jagged_forward
    pack_padded_sequence permute pin_memory pixel_shuffle pixel_unshuffle polar put range reflection_pad1d
    reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d
    reshape reshape_alias resize resize_as roll rot90 scalar_tensor scatter scatter_add scatter_reduce select set
    slice split split_with_sizes squeeze stack t take to to_copy to_padded_tensor transform_bias_rescale_qkv
    transpose tril tril_indices triu triu_indices unbind unfold unsafe_index unsafe_index_put unsafe_masked_index
    unsafe_masked_index_put_accumulate unsafe_split unsafe_split_with_sizes unsafe_view unsqueeze view
    view_as_complex view_as_real zero zeros
"""
SUMS_AND_COMPARES = """
    all allclose amax amin aminmax any argmax argmin argsort bincount bucketize count_nonzero cummax cummin cumprod
    cumsum dist equal fused_sdp_choice histc histogram is_all_true is_any_true isin kthvalue logcumsumexp logsumexp
    max mean median min mode nanmedian nansum searchsorted segment_reduce sort sum topk trace unique unique2
    unique_consecutive unique_dim unique_dim_consecutive
"""
POOLS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d fractional_max_pool2d fractional_max_pool3d
    max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d mkldnn_adaptive_avg_pool2d
    mkldnn_max_pool2d mkldnn_max_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_nearest_exact1d upsample_nearest_exact2d upsample_nearest_exact3d
"""
NORMALISES = """
    batch_norm batch_norm_elemt batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_no_update
    batch_norm_stats batch_norm_update_stats batch_norm_with_update cudnn_batch_norm fused_rms_norm linalg__powsum
    linalg_vector_norm log_softmax masked_softmax miopen_batch_norm native_batch_norm native_batch_norm_legit
    native_batch_norm_legit_no_training native_group_norm native_layer_norm native_norm norm prod renorm
    safe_softmax softmax std std_mean var var_mean weight_norm_interface
"""
ACTIVATES_AND_DRAWS = """
    bernoulli binomial cauchy exponential fused_dropout geometric gelu glu hardsigmoid hardswish leaky_relu
    log_normal log_sigmoid_forward masked_scale multinomial native_dropout normal poisson prelu_kernel rand randint
    randn random randperm rrelu_with_noise sample_dirichlet standard_gamma thnn_fused_gru_cell thnn_fused_lstm_cell
    threshold uniform
"""
MEASURES_AND_CONVERTS = """
    binary_cross_entropy binary_cross_entropy_with_logits ctc_loss dequantize
    fake_quantize_learnable_per_channel_affine fake_quantize_learnable_per_tensor_affine
    fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask_tensor_qparams floor_divide huber_loss int_repr mse_loss
    multi_margin_loss multilabel_margin_loss_forward nll_loss2d_forward nll_loss_forward quantize_per_channel
    quantize_per_tensor quantize_per_tensor_dynamic smooth_l1_loss soft_margin_loss
"""
NOTHING = frozenset(
    " ".join((MOVES, SUMS_AND_COMPARES, POOLS, NORMALISES, ACTIVATES_AND_DRAWS, MEASURES_AND_CONVERTS)).split()
)
ENDINGS = ("_copy", "_like", "_functional", "_scatter")

# Bookkeeping of torch itself, the parts of norms and activations, and what picks boxes.
HARMLESS_NAMESPACES = {"prim", "profiler"}
HARMLESS = {"torchvision.nms"}


def multiplies_nothing(operation: Any) -> bool:
    """Whether it is known that an operation without a rule multiplies no data by data."""
    namespace = getattr(operation, "namespace", "")
    if namespace in HARMLESS_NAMESPACES or short_name(operation) in HARMLESS:
        return True
    if namespace != "aten":
        return False
    if operation.is_view or torch.Tag.view_copy in operation.tags or _is_pointwise(operation):
        return True
    name = own_name(operation).strip("_")
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name in NOTHING or (name.startswith("foreach_") and "mm" not in name)


def _is_pointwise(operation: Any) -> bool:
    """As torch tags it, or what it does in place: not every version tags both."""
    names = own_name(operation), own_name(operation).removesuffix("_")
    packets = [getattr(torch.ops.aten, name) for name in names if hasattr(torch.ops.aten, name)]
    overloads = [getattr(packet, overload) for packet in packets for overload in packet.overloads()]
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)


def short_name(operation: Any) -> str:
    """As a reader knows it: "linalg_qr" of torch's own operations, else with the name of the library: "mine.op"."""
    name = str(getattr(operation, "overloadpacket", operation))
    return name.removeprefix("aten.").strip("_") if name.startswith("aten.") else name


def own_name(operation: Any) -> str:
    """The name in the tables; empty of a custom operator, whatever it is called."""
    packet = getattr(operation, "overloadpacket", operation)
    name = str(packet)
    if name.startswith("aten."):
        return name.removeprefix("aten.")
    return "flex_attention" if name == "flex_attention" else ""

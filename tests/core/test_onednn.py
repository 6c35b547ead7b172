"""What oneDNN prints of its kernels, as torch 2.14.1 did on an AMD EPYC."""

from mnist_ops.core.onednn import kernels

STEP = """\
onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71049cd69a3df32adcccb623b12cd7baa22)
onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost and bfloat16 support
onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,prop_kind,memory_descriptors,attributes,auxiliary,problem_desc,exec_time
onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core_bf16,undef,src:bf16::blocked:ab::f0 wei:bf16::blocked:ba::f0 dst:bf16::blocked:ab::f0,attr-scratchpad:user,,128x576:576x64,0.0720215
something that a program prints
onednn_verbose,v1,primitive,create_nested:cache_miss,cpu,convolution,brg_conv_fwd:avx512_core_bf16,forward_training,src:bf16::blocked:acdb::f0 wei:bf16:a:blocked:AcdB64a2b::f0 bia:undef::undef::: dst:bf16::blocked:acdb::f0,attr-scratchpad:user,alg:convolution_direct,mb2_ic64oc64_ih7oh7kh3sh1dh0ph1_iw7ow7kw3sw1dw0pw1,0.1
onednn_verbose,v1,primitive,exec,cpu,reorder,simple:any,undef,src:s8::blocked:abcd::f0 dst:s8::blocked:cdab::f0,attr-scratchpad:user,,4x6x3x3,0.00217
"""  # noqa: E501
# With ONEDNN_MAX_CPU_ISA=SSE41.
REFERENCE = """\
onednn_verbose,v1,primitive,exec,cpu,convolution,ref:any,forward_inference,src:u8::blocked:acdeb::f0 wei:s8:a:blocked:abcdef::f0 bia:undef::undef::: dst:u8::blocked:acdeb::f0,attr-scratchpad:user attr-scales:src0:0:f32+dst:0:f32+wei:0:f32,alg:convolution_direct,g3mb1_ic3oc6_id8od6kd3sd1dd1pd1_ih8oh6kh3sh1dh1ph1_iw8ow6kw3sw1dw1pw1,0.5
onednn_verbose,v1,primitive,exec,cpu,pooling,simple_nchw:any,forward_training,src:f32::blocked:abcde::f0 dst:f32:a:blocked:abcde::f0,attr-scratchpad:user,alg:pooling_avg_include_padding,mb1ic2_id4od2kd2sd2dd0pd0_ih4oh2kh2sh2dh0ph0_iw4ow2kw2sw2dw0pw0,0.00805664
"""  # noqa: E501


def test_executed_kernels_are_read() -> None:
    product, copy = kernels(STEP)
    assert str(product) == "matmul bf16: brg_matmul:avx512_core_bf16"
    assert product.ms == 0.0720215
    assert not product.is_reference
    assert not copy.is_reference


def test_reference_kernels_are_known() -> None:
    found = kernels(REFERENCE)
    assert [kernel.is_reference for kernel in found] == [True, True]
    assert str(found[0]) == "convolution forward_inference u8: ref:any"

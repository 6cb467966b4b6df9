"""Vectors of fixed width inside numba kernels.

Numba's loops are vectorised only where LLVM sees how; the innermost loops of the projectors keep
accumulators in registers across a whole ray, which it does not see. These intrinsics put LLVM's own
vector type into numba functions: `load(array, index, n)` reads n neighbours, `fma`, `add`, ... work on
all of them at once. LLVM lowers them to the widest instructions that the processor has. Offsets count
elements of a one-dimensional contiguous array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, register_model

VECTOR_BYTES = 64  # one AVX-512 register; two of AVX2, four of NEON
_I32 = ir.IntType(32)


def features(stated: str | None, avx: bool) -> set[str]:
    """Instructions that numba compiles for: the processor's own, or those that its settings state.

    Parameters
    ----------
    stated : '+avx2,-avx512f', as NUMBA_CPU_FEATURES says it; empty for NUMBA_CPU_NAME=generic; None for the
        processor's own.
    avx : NUMBA_ENABLE_AVX.
    """
    if stated is not None:
        return {word[1:] for word in stated.split(",") if word.startswith("+")}
    held = llvm.get_host_cpu_features()
    return {name for name, there in held.items() if there and (avx or "avx" not in name)}


_FEATURES = features(config.CPU_FEATURES, bool(config.ENABLE_AVX))
AVX512 = "avx512f" in _FEATURES
AVX2 = "avx2" in _FEATURES

# Vectors whose lanes are permuted fill one register: two registers have no permutation of their own.
WINDOW_BYTES = 32 if AVX2 and not AVX512 else VECTOR_BYTES


class Vector(types.Type):
    """`lanes` numbers of one type, held in registers."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype} x {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _spread(builder: Any, scalar: Any, lanes: int) -> Any:
    nothing = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _as_vector(context: Any, builder: Any, vector: Vector, kind: types.Type, value: Any) -> Any:
    if isinstance(kind, Vector):
        return value
    return _spread(builder, context.cast(builder, value, kind, vector.dtype), vector.lanes)


def _address(context: Any, builder: Any, array: types.Array, value: Any, index: Any, vector: Any) -> Any:
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _constant_lanes(doc: str, size: int) -> Any:
    @intrinsic(prefer_literal=True)
    def lanes(typingctx: Any, array: Any) -> Any:
        count = size * 8 // array.dtype.bitwidth

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.get_constant(types.intp, count)

        return types.literal(count)(array), codegen

    lanes.__doc__ = doc
    return lanes


lanes_of = _constant_lanes(
    "How many of the array's elements fill a vector; a compile-time constant.", VECTOR_BYTES
)
half_lanes_of = _constant_lanes("How many of the array's elements fill half a vector.", VECTOR_BYTES // 2)
window_lanes_of = _constant_lanes(
    "How many of the array's elements fill a vector that `lookup` and `permute` are made for.", WINDOW_BYTES
)


@intrinsic(prefer_literal=True)
def lanes_in(typingctx: Any, vector: Any) -> Any:
    """How many lanes a vector has; a compile-time constant."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, vector.lanes)

    return types.literal(vector.lanes)(vector), codegen


@intrinsic(prefer_literal=True)
def load(typingctx: Any, array: Any, index: Any, lanes: Any) -> Any:
    """`lanes` neighbours of `array`, from `index` on."""
    vector = Vector(array.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        address = _address(context, builder, array, args[0], args[1], kind)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp, lanes), codegen


@intrinsic(prefer_literal=True)
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector to `array`, from `index` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(value)
        address = _address(context, builder, array, args[0], args[1], kind)
        builder.store(args[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic(prefer_literal=True)
def splat(typingctx: Any, like: Any, scalar: Any, lanes: Any) -> Any:
    """`scalar` in every lane, as a number of the type of the array `like`."""
    vector = Vector(like.dtype, lanes.literal_value)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _as_vector(context, builder, vector, scalar, args[1])

    return vector(like, scalar, lanes), codegen


@intrinsic(prefer_literal=True)
def fraction(typingctx: Any, like: Any, fixed: Any, bits: Any, lanes: Any) -> Any:
    """The part of a 64-bit fixed-point number below its point, in [0, 1), in every lane.

    `bits` of the number are below the point. They are set into the mantissa of a number from 1 to 2, which
    spares the slow conversions between integers and reals.
    """
    vector = Vector(like.dtype, lanes.literal_value)
    width = like.dtype.bitwidth
    mantissa, one = (23, 0x3F800000) if width == 32 else (52, 0x3FF0000000000000)
    shift = bits.literal_value - mantissa

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        long, short = ir.IntType(64), ir.IntType(width)
        moved = (
            builder.lshr(args[1], ir.Constant(long, shift))
            if shift >= 0
            else builder.shl(args[1], ir.Constant(long, -shift))
        )
        moved = builder.trunc(moved, short) if width == 32 else moved
        pattern = builder.and_(moved, ir.Constant(short, (1 << mantissa) - 1))
        pattern = builder.or_(pattern, ir.Constant(short, one))
        real = context.get_value_type(like.dtype)
        number = builder.fsub(builder.bitcast(pattern, real), ir.Constant(real, 1.0))
        return _spread(builder, number, vector.lanes)

    return vector(like, types.int64, bits, lanes), codegen


@intrinsic(prefer_literal=True)
def ramp(typingctx: Any, like: Any, lanes: Any) -> Any:
    """0, 1, 2, ... as numbers of the type of the array `like`."""
    vector = Vector(like.dtype, lanes.literal_value)
    convert = float if isinstance(like.dtype, types.Float) else int

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), [convert(k) for k in range(vector.lanes)])

    return vector(like, lanes), codegen


@intrinsic(prefer_literal=True)
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c`, rounded once; `a` may be a scalar."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(c)
        name = f"llvm.fma.v{c.lanes}f{c.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, [_as_vector(context, builder, c, a, args[0]), args[1], args[2]])

    return c(a, b, c), codegen


def _binary(doc: str, emit: Callable[[Any, Any, Any, Vector], Any]) -> Any:
    @intrinsic(prefer_literal=True)
    def operation(typingctx: Any, a: Any, b: Any) -> Any:
        vector = a if isinstance(a, Vector) else b

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            x = _as_vector(context, builder, vector, a, args[0])
            y = _as_vector(context, builder, vector, b, args[1])
            return emit(builder, x, y, vector)

        return vector(a, b), codegen

    operation.__doc__ = doc
    return operation


def _real(vector: Vector) -> bool:
    return isinstance(vector.dtype, types.Float)


def _pick(builder: Any, x: Any, y: Any, vector: Vector, sign: str) -> Any:
    compare = builder.fcmp_ordered if _real(vector) else builder.icmp_signed
    return builder.select(compare(sign, x, y), x, y)


add = _binary("a + b.", lambda b, x, y, v: b.fadd(x, y) if _real(v) else b.add(x, y))
sub = _binary("a - b.", lambda b, x, y, v: b.fsub(x, y) if _real(v) else b.sub(x, y))
mul = _binary("a * b.", lambda b, x, y, v: b.fmul(x, y) if _real(v) else b.mul(x, y))
div = _binary("a / b, of real numbers.", lambda b, x, y, v: b.fdiv(x, y))
maximum = _binary("The larger of each pair.", lambda b, x, y, v: _pick(b, x, y, v, ">"))
minimum = _binary("The smaller of each pair.", lambda b, x, y, v: _pick(b, x, y, v, "<"))


def _unary(doc: str, name: str) -> Any:
    @intrinsic(prefer_literal=True)
    def operation(typingctx: Any, a: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = context.get_value_type(a)
            full = f"llvm.{name}.v{a.lanes}f{a.dtype.bitwidth}"
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), full)
            return builder.call(function, args)

        return a(a), codegen

    operation.__doc__ = doc
    return operation


floor = _unary("Largest whole numbers not above.", "floor")
absolute = _unary("Values without their signs.", "fabs")


@intrinsic(prefer_literal=True)
def whole(typingctx: Any, a: Any) -> Any:
    """Real numbers, whole in value, as 32-bit integers."""
    vector = Vector(types.int32, a.lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fptosi(args[0], context.get_value_type(vector))

    return vector(a), codegen


def _gather(
    context: Any, builder: Any, array: types.Array, vector: Vector, value: Any, base: Any, index: Any
) -> Any:
    start = builder.gep(context.make_array(array)(context, builder, value).data, [base])
    result = ir.Constant(context.get_value_type(vector), ir.Undefined)
    for lane in range(vector.lanes):
        at = builder.sext(builder.extract_element(index, ir.Constant(_I32, lane)), ir.IntType(64))
        result = builder.insert_element(
            result, builder.load(builder.gep(start, [at])), ir.Constant(_I32, lane)
        )
    return result


@intrinsic(prefer_literal=True)
def gather(typingctx: Any, array: Any, base: Any, index: Any) -> Any:
    """`array[base + index]` for each lane of `index`, wherever that lies."""
    vector = Vector(array.dtype, index.lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _gather(context, builder, array, vector, *args)

    return vector(array, types.intp, index), codegen


def _permutes(vector: Vector) -> bool:
    """Whether the processor permutes such vectors in its registers."""
    bits = vector.dtype.bitwidth * vector.lanes
    return (AVX512 and bits == 512) or (AVX2 and bits == 256)


@intrinsic(prefer_literal=True)
def permute(typingctx: Any, low: Any, high: Any, index: Any) -> Any:
    """Element `index` of `low` and `high` set side by side, for each lane; every index in [0, 2 lanes)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _permute(context.get_value_type(low), low, builder, *args)

    return low(low, high, index), codegen


def _permute(kind: Any, vector: Vector, builder: Any, low: Any, high: Any, index: Any) -> Any:
    if _permutes(vector):
        inside = _permute_avx512 if vector.dtype.bitwidth * vector.lanes == 512 else _permute_avx2
        return inside(kind, vector, builder, low, high, index)
    order = ir.Constant(ir.VectorType(_I32, 2 * vector.lanes), list(range(2 * vector.lanes)))
    both = builder.shuffle_vector(low, high, order)
    result = ir.Constant(kind, ir.Undefined)
    for lane in range(vector.lanes):
        at = builder.extract_element(index, ir.Constant(_I32, lane))
        result = builder.insert_element(result, builder.extract_element(both, at), ir.Constant(_I32, lane))
    return result


def _permute_avx512(kind: Any, vector: Vector, builder: Any, low: Any, high: Any, index: Any) -> Any:
    bits = vector.dtype.bitwidth
    integers = ir.VectorType(ir.IntType(bits), vector.lanes)
    where = index if bits == 32 else builder.sext(index, integers)
    name = f"llvm.x86.avx512.vpermi2var.{'ps' if bits == 32 else 'pd'}.512"
    signature = ir.FunctionType(kind, [kind, integers, kind])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, [low, where, high])


def _permute_avx2(kind: Any, vector: Vector, builder: Any, low: Any, high: Any, index: Any) -> Any:
    """Both halves of the window permuted, and of each lane the one that its index points to."""
    singles, where = ir.VectorType(ir.FloatType(), 8), index
    if vector.lanes == 4:  # a double is two singles, moved together
        pairs = ir.Constant(ir.VectorType(_I32, 8), [0, 0, 1, 1, 2, 2, 3, 3])
        twice = builder.shl(index, ir.Constant(ir.VectorType(_I32, 4), [1] * 4))
        where = builder.shuffle_vector(twice, twice, pairs)
        where = builder.or_(where, ir.Constant(ir.VectorType(_I32, 8), [0, 1] * 4))
    signature = ir.FunctionType(singles, [singles, ir.VectorType(_I32, 8)])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx2.permps")
    one, two = (
        builder.bitcast(builder.call(function, [builder.bitcast(half, singles), where]), kind)
        for half in (low, high)
    )
    last = ir.Constant(ir.VectorType(_I32, vector.lanes), [vector.lanes - 1] * vector.lanes)
    return builder.select(builder.icmp_signed(">", index, last), two, one)


@intrinsic(prefer_literal=True)
def lookup(typingctx: Any, array: Any, base: Any, index: Any) -> Any:
    """`array[base + index]` where every index lies in [0, 2 lanes): two loads and one permutation.

    The whole window of 2 lanes from `base` on is read, so it must lie inside the array. Processors
    without such a permutation gather instead.
    """
    vector = Vector(array.dtype, index.lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(vector)
        if not _permutes(vector):
            return _gather(context, builder, array, vector, *args)
        align = array.dtype.bitwidth // 8
        after = builder.add(args[1], ir.Constant(args[1].type, vector.lanes))
        low = builder.load(_address(context, builder, array, args[0], args[1], kind), align=align)
        high = builder.load(_address(context, builder, array, args[0], after, kind), align=align)
        return _permute(kind, vector, builder, low, high, args[2])

    return vector(array, types.intp, index), codegen

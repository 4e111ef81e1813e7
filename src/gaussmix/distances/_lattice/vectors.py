"""Two loops in LLVM's vectors of eight doubles: running sums of a pair of weights, and eight weighted sums at once.

Compilers vectorise neither well. The vectors exist on every processor, as one register, two or four. A running sum
within a block takes three shifted additions. What comes in are addresses; nothing is checked here.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8
CHAINS = 4
"""Sums that are taken side by side, since an addition waits for the one before."""
ROWS_AHEAD = 2
"""Where memory is asked for in advance."""
_DOUBLE, _LONG, _BYTE = ir.DoubleType(), ir.IntType(64), ir.IntType(8)
_VECTOR, _LONGS = ir.VectorType(_DOUBLE, LANES), ir.VectorType(_LONG, LANES)


def _scan(typingctx: Any, a: Any, b: Any, c: Any, signs: Any, n: Any, running: Any) -> Any:
    """(sum a, sum c, sum |c|, least sign) of the first n of rows a and b: n is a multiple of `LANES`.

    c becomes a - b or its running sums, and each byte of `signs` says, a bit each, which of eight c are negative.
    The sign is below 0 if a bit pattern in a or b is. Arguments are addresses, n an integer, running a boolean.
    """
    signature = types.Tuple((types.float64, types.float64, types.float64, types.int64))(a, b, c, signs, n, running)
    return signature, _emit_scan


def _emit_scan(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    a, b, c, signs, n, running = arguments
    zero, no_bits = ir.Constant(_VECTOR, [0.0] * LANES), ir.Constant(_LONGS, [0] * LANES)
    sum_a, size, sums, *previous = (cgutils.alloca_once_value(builder, zero) for _ in range(6))
    bits = cgutils.alloca_once_value(builder, no_bits)
    vectors = {"a": a, "b": b, "c": c}
    pointers = {name: builder.inttoptr(address, _DOUBLE.as_pointer()) for name, address in vectors.items()}
    bytes_of_signs = builder.inttoptr(signs, _BYTE.as_pointer())
    ahead_by = builder.mul(n, ir.Constant(n.type, ROWS_AHEAD))
    blocks = builder.udiv(n, ir.Constant(n.type, LANES))

    def block_of(name: str, start: Any) -> Any:
        return builder.bitcast(builder.gep(pointers[name], [start]), _VECTOR.as_pointer())

    with cgutils.for_range(builder, blocks) as loop:
        start = builder.mul(loop.index, ir.Constant(loop.index.type, LANES))
        of_a, of_b = builder.load(block_of("a", start), align=8), builder.load(block_of("b", start), align=8)
        for name in ("a", "b"):
            ahead = builder.gep(pointers[name], [builder.add(start, ahead_by)])
            _prefetch(builder, ahead)
        both = builder.or_(builder.bitcast(of_a, _LONGS), builder.bitcast(of_b, _LONGS))
        builder.store(builder.or_(builder.load(bits), both), bits)
        builder.store(builder.fadd(builder.load(sum_a), of_a), sum_a)
        difference = builder.fsub(of_a, of_b)
        window = difference  # sums of the last 1, 2, 4 and then 8 differences
        for shift, before in zip((1, 2, 4), previous, strict=True):
            shifted = _lanes(builder, builder.load(before), window, [LANES + i - shift for i in range(LANES)])
            builder.store(window, before)
            window = builder.fadd(window, shifted)
        builder.store(builder.fadd(builder.load(sums), window), sums)
        value = builder.select(running, builder.load(sums), difference)
        builder.store(value, block_of("c", start), align=8)
        as_bits = builder.bitcast(value, _LONGS)
        magnitude = builder.and_(as_bits, ir.Constant(_LONGS, [2**63 - 1] * LANES))
        builder.store(builder.fadd(builder.load(size), builder.bitcast(magnitude, _VECTOR)), size)
        negative = builder.bitcast(builder.icmp_signed("<", as_bits, no_bits), _BYTE)
        builder.store(negative, builder.gep(bytes_of_signs, [loop.index]))

    def total(vector: Any, add: Any) -> Any:
        parts = [builder.extract_element(vector, ir.Constant(ir.IntType(32), i)) for i in range(LANES)]
        while len(parts) > 1:
            parts = [add(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        return parts[0]

    last = builder.extract_element(builder.load(sums), ir.Constant(ir.IntType(32), LANES - 1))
    results = [total(builder.load(sum_a), builder.fadd), last, total(builder.load(size), builder.fadd)]
    results.append(total(builder.load(bits), builder.or_))
    return context.make_tuple(builder, signature.return_type, results)


def _weigh(typingctx: Any, c: Any, table: Any, taps: Any) -> Any:
    """sum_k c_k table[k] for table (taps, LANES). Arguments are two addresses and an integer."""
    return types.UniTuple(types.float64, LANES)(c, table, taps), _emit_weigh


def _emit_weigh(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    c, table, taps = arguments
    c, table = builder.inttoptr(c, _DOUBLE.as_pointer()), builder.inttoptr(table, _DOUBLE.as_pointer())
    sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES)) for _ in range(CHAINS)]
    with cgutils.for_range(builder, builder.udiv(taps, ir.Constant(taps.type, CHAINS))) as loop:
        for chain in range(CHAINS):
            k = builder.add(builder.mul(loop.index, ir.Constant(taps.type, CHAINS)), ir.Constant(taps.type, chain))
            one = builder.insert_element(
                ir.Constant(_VECTOR, ir.Undefined), builder.load(builder.gep(c, [k])), ir.Constant(ir.IntType(32), 0)
            )
            everywhere = _lanes(builder, one, one, [0] * LANES)
            row = builder.gep(table, [builder.mul(k, ir.Constant(taps.type, LANES))])
            row = builder.load(builder.bitcast(row, _VECTOR.as_pointer()), align=8)
            product = builder.fmul(everywhere, row, flags=("contract",))
            builder.store(builder.fadd(builder.load(sums[chain]), product, flags=("contract",)), sums[chain])
    whole = builder.load(sums[0])
    for chain in range(1, CHAINS):
        whole = builder.fadd(whole, builder.load(sums[chain]))
    results = [builder.extract_element(whole, ir.Constant(ir.IntType(32), i)) for i in range(LANES)]
    return context.make_tuple(builder, signature.return_type, results)


def _prefetch(builder: Any, pointer: Any) -> None:
    """Ask for a line of memory, for reading; nothing happens where there is none."""
    byte, number = _BYTE.as_pointer(), ir.IntType(32)
    prefetch = builder.module.declare_intrinsic(
        "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte] + 3 * [number])
    )
    read, keep, data = (ir.Constant(number, value) for value in (0, 3, 1))
    builder.call(prefetch, [builder.bitcast(pointer, byte), read, keep, data])


def _lanes(builder: Any, vector: Any, other: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(vector, other, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))


def _trailing_zeros(typingctx: Any, word: Any) -> Any:
    """How many bits below the lowest that is set."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), emit


scan: Any = intrinsic(_scan)
weigh: Any = intrinsic(_weigh)
trailing_zeros: Any = intrinsic(_trailing_zeros)

// Sums as numpy adds, so that every device has the same last bit; knows no rule.
package escalade.core.deferral

// numpy's PW_BLOCKSIZE and its eight accumulators (numpy/_core/src/umath/loops_utils.h.src).
private const val BLOCK = 128
private const val LANES = 8

/** The sum of all values in numpy's order: pairwise above 128 of them. */
internal fun pairwiseSum(values: DoubleArray): Double = 0.0 + sumOf(values, 0, values.size)

private fun sumOf(values: DoubleArray, from: Int, count: Int): Double {
    if (count < LANES) {
        var total = -0.0
        for (index in from until from + count) total += values[index]
        return total
    }
    if (count > BLOCK) {
        val half = (count / 2).let { it - it % LANES }
        return sumOf(values, from, half) + sumOf(values, from + half, count - half)
    }
    val lane = DoubleArray(LANES) { values[from + it] }
    val whole = count - count % LANES
    for (index in LANES until whole) lane[index % LANES] += values[from + index]
    var total = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]))
    for (index in from + whole until from + count) total += values[index]
    return total
}

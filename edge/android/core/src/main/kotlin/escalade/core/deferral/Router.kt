// A learned deferral rule: a small network on the token probabilities; knows no model, no file.
//
// As edge/escalade/edge/deferral/router.py: appendix B of the CAT paper. Sums over a layer may be added
// in another order there, so scores agree to 1e-11, not to the last bit.
package escalade.core.deferral

import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

// Of exp, and for probabilities too small to have a relative error; see router.py.
private const val EXP_UNITS = 8
private const val TINY = 1e-300

/** A linear layer: weight row by row, `(outputs, inputs)`, and bias `(outputs,)`. */
class Layer(val weight: FloatArray, val bias: FloatArray) {
    /** How many numbers it takes. */
    val inputs: Int get() = if (bias.isEmpty() || weight.size % bias.size != 0) 0 else weight.size / bias.size

    /** What it gives, of [values] `(inputs,)`. */
    fun applied(values: DoubleArray) = DoubleArray(bias.size) { row ->
        var total = 0.0
        for (index in values.indices) total += weight[row * values.size + index] * values[index]
        total + bias[row]
    }

    /** The layer of the magnitudes of its numbers. */
    fun magnitudes() = Layer(weight.absolute(), bias.absolute())

    /** Its weight alone. */
    fun withoutBias() = Layer(weight, FloatArray(bias.size))

    private fun FloatArray.absolute() = FloatArray(size) { abs(this[it]) }
}

/**
 * A multilayer perceptron with ReLU between its layers; its logit is the deferral score.
 *
 * @param layers at least 1; each takes what the one before gives, the last gives 1 number.
 */
class Router(private val layers: List<Layer>) : DeferralRule() {
    init {
        require(layers.isNotEmpty()) { "a router needs at least 1 layer, got 0" }
        for ((index, layer) in layers.withIndex()) {
            val given = if (index == 0) layer.inputs else layers[index - 1].bias.size
            require(layer.inputs >= 1 && layer.inputs == given) {
                "layer $index: takes ${layer.inputs} numbers, is given $given"
            }
            require((layer.weight.asList() + layer.bias.asList()).all { it.isFinite() }) {
                "layer $index: a number is not finite"
            }
        }
        val last = layers.last().bias.size
        require(last == 1) { "the last layer must give 1 number, the logit; got $last" }
    }

    override val name = "router"

    /** How many tokens of a response it looks at: the first ones. */
    val length: Int get() = layers.first().inputs

    override val lowest: Double get() = least(DoubleArray(length), DoubleArray(length) { 1.0 })

    override fun scored(logprobs: DoubleArray): Double {
        var values = DoubleArray(length) { if (it < logprobs.size) exp(min(logprobs[it], 0.0)) else 0.0 }
        for ((depth, layer) in layers.withIndex()) {
            values = layer.applied(if (depth > 0) values.rectified() else values)
        }
        return values[0]
    }

    override fun running(longest: Int): RunningBound {
        val low = DoubleArray(length)
        val high = DoubleArray(length) { if (it < longest) 1.0 else 0.0 }
        var seen = 0
        var bound = Double.NEGATIVE_INFINITY
        return RunningBound { logprob ->
            if (seen < length) {
                val probability = exp(min(logprob, 0.0))
                val off = EXP_UNITS * UNIT_ROUNDOFF * probability + TINY
                low[seen] = probability - off
                high[seen] = probability + off
                seen += 1
                bound = least(low, high)
            }
            bound
        }
    }

    /** The lower end of the logit, of features between [from] and [to]. */
    private fun least(from: DoubleArray, to: DoubleArray): Double {
        var low = from
        var high = to
        for ((depth, layer) in layers.withIndex()) {
            if (depth > 0) {
                low = low.rectified()
                high = high.rectified()
            }
            val size = layer.magnitudes()
            val middle = layer.applied(DoubleArray(low.size) { (low[it] + high[it]) / 2 })
            val wide = size.withoutBias().applied(DoubleArray(low.size) { (high[it] - low[it]) / 2 })
            val most = size.applied(DoubleArray(low.size) { max(abs(low[it]), abs(high[it])) })
            val units = 4 * (low.size + 4) * UNIT_ROUNDOFF
            val off = DoubleArray(wide.size) { wide[it] + units * most[it] + TINY }
            low = DoubleArray(middle.size) { middle[it] - off[it] }
            high = DoubleArray(middle.size) { middle[it] + off[it] }
        }
        return low[0]
    }

    private fun DoubleArray.rectified() = DoubleArray(size) { max(this[it], 0.0) }
}

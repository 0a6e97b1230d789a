// Deferral rules of the token log-probabilities; knows no network, no model.
//
// Those of the CAT paper (arXiv 2406.00060, equation 5 and appendix C.1), as in
// edge/escalade/edge/deferral/rules.py. The bounds are proved in docs/deferral.md.
package escalade.core.deferral

import kotlin.math.floor

/** Normalized negative log-likelihood, equation 5: the default. */
object MeanRule : DeferralRule() {
    override val name = "mean"

    override fun scored(logprobs: DoubleArray) = -(pairwiseSum(logprobs) / logprobs.size)

    override fun running(longest: Int): RunningBound {
        var total = 0.0
        return RunningBound { logprob ->
            total -= logprob
            lowered(total / longest, 4 * longest + 8)
        }
    }
}

/** Negative log-likelihood of the whole response: long ones score higher. */
object SumRule : DeferralRule() {
    override val name = "sum"

    override fun scored(logprobs: DoubleArray) = -pairwiseSum(logprobs)

    override fun running(longest: Int): RunningBound {
        var total = 0.0
        return RunningBound { logprob ->
            total -= logprob
            lowered(total, 4 * longest + 8)
        }
    }
}

/**
 * `-quantile_q(log p)`, linear between neighbours; q = 0 is the least sure token.
 *
 * @param q which quantile of the N log-probabilities, in [0, 1].
 * @param written as a manifest has it; a name is not to be printed otherwise.
 */
class QuantileRule(private val q: Double, written: String = q.toString()) : DeferralRule() {
    init {
        require(q in 0.0..1.0) { "q must be a number in [0, 1], got $q" }
    }

    override val name = when (q) {
        0.0 -> "min"
        1.0 -> "max"
        else -> "quantile:$written"
    }

    override fun scored(logprobs: DoubleArray): Double {
        val rising = logprobs.sortedArray()
        return placed(rising.size) { rising[it] }
    }

    override fun running(longest: Int): RunningBound {
        val rising = ArrayList<Double>()
        val units = if (q == 0.0 || q == 1.0) 0 else 16
        return RunningBound { logprob ->
            val place = rising.indexOfFirst { it > logprob }
            rising.add(if (place < 0) rising.size else place, logprob)
            lowered(placed(longest) { rising.getOrElse(it) { 0.0 } }, units)
        }
    }

    /** The score of [size] values, given by their place in rising order. */
    private fun placed(size: Int, value: (Int) -> Double): Double {
        // Not a library's quantile: it would subtract -Infinity from -Infinity.
        val position = q * (size - 1)
        val lower = floor(position).toInt()
        val share = position - lower
        if (share == 0.0) return -value(lower)
        return -((1 - share) * value(lower) + share * value(lower + 1))
    }
}

/** The rules without a parameter, by the name that manifests use. */
val RULES: Map<String, DeferralRule> =
    listOf(MeanRule, SumRule, QuantileRule(0.0), QuantileRule(1.0)).associateBy { it.name }

// As Python's float() takes of what a manifest says; Kotlin's own would take "0.5f" and "0x1p-1".
private val DECIMAL = Regex("[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?")

/**
 * The rule that a manifest calls by name: a key of [RULES], or `quantile:Q` with Q in [0, 1].
 *
 * A router is more than its name: see [Router].
 */
fun ruleNamed(name: String): DeferralRule {
    RULES[name]?.let { return it }
    val shown = name.take(80)
    if (name.substringBefore(':') == "quantile") {
        val parameter = name.substringAfter(':', "")
        val q = parameter.trim().takeIf(DECIMAL::matches)?.toDouble() ?: Double.NaN
        require(q in 0.0..1.0) {
            "rule '$shown': Q of quantile:Q must be a number in [0, 1], got '${parameter.take(80)}'"
        }
        return QuantileRule(q, parameter)
    }
    throw IllegalArgumentException(
        "rule must be one of ${RULES.keys.joinToString()}, quantile:Q (Q in [0, 1]), got '$shown'",
    )
}

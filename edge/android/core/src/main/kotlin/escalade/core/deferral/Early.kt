// Ends a response before it is complete, where its query will be deferred anyway; knows no model.
package escalade.core.deferral

/** What is looked at to say that deferral is likely. */
enum class Statistic { MEAN, SUM, MIN }

/** What a manifest says of when deferral is likely; see `EarlyEntry` of the Python device. */
data class Likely(val statistic: Statistic, val level: Double, val minTokens: Int)

/** When a tier may end before its answer does. */
enum class Early { OFF, CERTAIN, LIKELY }

/**
 * Whether a response may end here. One for each response; tell it of each token once.
 *
 * @param threshold tau.
 * @param longest how many tokens the response may have, >= 1.
 * @param likely stop too where deferral is likely, as calibrated.
 */
class EarlyStop(rule: DeferralRule, private val threshold: Double, longest: Int, private val likely: Likely? = null) {
    private val bound = rule.runningBound(longest)
    private var isLikely = false
    private var seen = 0
    private var sum = 0.0
    private var most = Double.NEGATIVE_INFINITY

    /** Whether every way to go on ends with a score that defers. */
    var certain = threshold <= rule.lowest
        private set

    /** Go on by a token; whether to stop. */
    fun add(logprob: Double): Boolean {
        seen += 1
        certain = bound.add(logprob) >= threshold || certain
        if (likely != null) {
            val reached = statistic(logprob, likely.statistic) >= likely.level
            isLikely = isLikely || (reached && seen >= likely.minTokens)
        }
        return certain || isLikely
    }

    private fun statistic(logprob: Double, which: Statistic): Double {
        sum -= logprob
        // As Python's max: a NaN takes no place.
        if (-logprob > most) most = -logprob
        return when (which) {
            Statistic.MIN -> most
            Statistic.SUM -> sum
            Statistic.MEAN -> sum / seen
        }
    }
}

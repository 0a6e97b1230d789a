// What stands between a tier and the next: a rule and its threshold; knows no tier, no network.
package escalade.core.deferral

/**
 * The deferral rule after a tier, with its threshold.
 *
 * @param likely what is likely, where [early] asks for it.
 */
data class Gate(
    val rule: DeferralRule,
    val threshold: Double,
    val early: Early = Early.OFF,
    val likely: Likely? = null,
) {
    init {
        require(threshold.isFinite()) { "a threshold must be a finite number, got $threshold" }
    }

    /** Whether a query of that score goes on to the next tier (equation 4). */
    fun defers(score: Double): Boolean = defers(score, threshold)

    /** The test for stopping a response of at most so many tokens; null: it runs to the end. */
    fun earlyStop(longest: Int): EarlyStop? =
        if (early == Early.OFF) null else EarlyStop(rule, threshold, longest, likely.takeIf { early == Early.LIKELY })
}

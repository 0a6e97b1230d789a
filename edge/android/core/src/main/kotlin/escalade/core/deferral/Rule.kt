// What a deferral rule is: a score, and what is certain of it early; knows no rule by name.
//
// As edge/escalade/edge/deferral/rule.py, to the last bit: edge/web/test/vectors/deferral.json, which
// Python writes, holds both to it.
package escalade.core.deferral

/** Half the distance from 1 to the next double (Higham 2002, section 2.1). */
internal const val UNIT_ROUNDOFF = 1.0 / (1L shl 53)

/** The least normal double. Below it errors are no longer relative. */
private const val LEAST_NORMAL = java.lang.Double.MIN_NORMAL

/** Takes the next token's log-probability, gives the bound with that token seen. */
fun interface RunningBound {
    fun add(logprob: Double): Double
}

/** The deferral score of a response, and what is certain of it before the response ends. */
abstract class DeferralRule {
    /** What manifests and traces call it. */
    abstract val name: String

    /** No response scores lower: the bound before the first token. */
    open val lowest: Double get() = 0.0

    /** The score of log-probabilities that are none of them NaN or infinite above. */
    protected abstract fun scored(logprobs: DoubleArray): Double

    /** The bound of log-probabilities that are none of them NaN or infinite above. */
    protected abstract fun running(longest: Int): RunningBound

    /**
     * The deferral score r(x); NaN, which defers, where a value is NaN or positive infinity.
     *
     * @param logprobs of N >= 1 tokens, natural logarithms.
     */
    fun score(logprobs: DoubleArray): Double {
        require(logprobs.isNotEmpty()) { "logprobs must have shape (N,) with N >= 1, got (0,)" }
        return if (logprobs.any(::isBroken)) Double.NaN else scored(logprobs)
    }

    /**
     * What the score of no response comes below, as its tokens come.
     *
     * @param longest how many tokens the response may have, >= 1.
     */
    fun runningBound(longest: Int): RunningBound {
        require(longest >= 1) { "longest must be at least 1, got $longest" }
        val step = running(longest)
        var seen = 0
        var broken = false
        return RunningBound { logprob ->
            seen += 1
            require(seen <= longest) { "a response of at most $longest tokens has a token $seen" }
            broken = broken || isBroken(logprob)
            if (broken) Double.POSITIVE_INFINITY else step.add(logprob)
        }
    }
}

/** Equation 4: the next tier answers when r(x) >= tau; a NaN score always defers. */
fun defers(score: Double, threshold: Double): Boolean = !(score < threshold)

/** A score of 0 or more, less that many units of roundoff; never below 0. */
internal fun lowered(score: Double, units: Int): Double {
    if (units == 0 || score == Double.POSITIVE_INFINITY) return score
    return maxOf(0.0, score - score * (units * UNIT_ROUNDOFF) - LEAST_NORMAL)
}

private fun isBroken(logprob: Double) = logprob.isNaN() || logprob == Double.POSITIVE_INFINITY

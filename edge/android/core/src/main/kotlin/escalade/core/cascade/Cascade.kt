// The whole: a query climbs until a gate lets an answer stand or the tiers end; knows no model, no screen.
//
// As edge/escalade/edge/run.py. A tier that is due and does not answer is passed over: where none above
// answers, the best answer so far stands. No query is lost for want of a network.
package escalade.core.cascade

import escalade.core.CascadeException
import escalade.core.CloudException
import escalade.core.EscaladeException
import escalade.core.PromptException
import escalade.core.deferral.Gate

/** What became of a query. */
enum class Outcome { ANSWERED, DEFERRED, DEGRADED }

/** An answer; times in seconds. */
data class Answer(
    val outcome: Outcome,
    val text: String,
    /** Whose answer stands. */
    val tier: String,
    val place: Place,
    /** What each tier said; null of one that was not asked or did not answer. */
    val tiers: List<TierAnswer?>,
    /** Of the last gate that the query came to; null where there was none, or the tier was stopped early. */
    val score: Double?,
    val threshold: Double?,
    val rule: String?,
    /** Why a tier that was due did not answer. */
    val reason: String?,
    val seconds: Double,
)

/**
 * Tiers in the order they are asked, and the gate after each but the last. One query at a time.
 *
 * @param nowS a monotonic clock.
 * @throws CascadeException there is no tier, two have one name, or there are not as many gates.
 */
class Cascade(
    private val tiers: List<Tier>,
    private val gates: List<Gate>,
    private val nowS: () -> Double = { System.nanoTime() / 1e9 },
) {
    init {
        if (tiers.isEmpty()) throw CascadeException("a cascade needs at least 1 tier, got 0")
        if (gates.size != tiers.size - 1) {
            throw CascadeException("gates must be ${tiers.size - 1}, one after every tier but the last, got ${gates.size}")
        }
        val names = tiers.map { it.name }
        val twice = names.find { name -> names.count { it == name } > 1 }
        if (twice != null) throw CascadeException("tiers must have names of their own, got '$twice' twice")
    }

    /**
     * Ask; blocks. Null where it was cancelled.
     *
     * @param onEvent told of everything on the way, on the thread that asks.
     * @throws EscaladeException no tier answered: what the last one failed of.
     */
    @Synchronized
    fun ask(query: Query, cancelled: () -> Boolean = { false }, onEvent: (Event) -> Unit = {}): Answer? {
        val began = nowS()
        val said = arrayOfNulls<TierAnswer>(tiers.size)
        val scores = arrayOfNulls<Double>(tiers.size)
        val failed = sortedMapOf<Int, EscaladeException>()
        var draft: Draft? = null
        var stands: Int? = null
        for ((index, tier) in tiers.withIndex()) {
            val gate = gates.getOrNull(index)
            val one = try {
                tier.ask(Call(query, gate, draft, cancelled, onEvent)) ?: return null
            } catch (error: EscaladeException) {
                if (error !is CloudException && error !is PromptException) throw error
                failed[index] = error
                onEvent(Event.Failed(tier.name, error.message.orEmpty()))
                continue
            }
            said[index] = one
            if (gate == null) {
                stands = index
                break
            }
            scores[index] = if (one.stop == Stop.STOPPED_EARLY) null else scoreOf(gate, one)
            // Stopped early is certain, or likely, to be deferred; a score that is no number always is.
            val up = scores[index]?.let(gate::defers) ?: true
            onEvent(Event.Scored(tier.name, scores[index], gate.threshold, up))
            draft = one.draft?.copy(score = scores[index], threshold = gate.threshold, rule = gate.rule.name) ?: draft
            if (!up) {
                stands = index
                break
            }
        }
        val degraded = stands == null
        val place = stands ?: said.indexOfLast { it != null }
        if (place < 0) throw failed.getValue(failed.lastKey())
        if (degraded && said[place]?.stop == Stop.STOPPED_EARLY) {
            // What was stopped early is only how the answer begins: the whole, without a gate.
            said[place] = tiers[place].ask(Call(query, null, draft, cancelled, onEvent)) ?: return null
        }
        return answer(place, degraded, said.asList(), scores, failed.values.lastOrNull(), nowS() - began)
    }

    private fun answer(
        place: Int,
        degraded: Boolean,
        said: List<TierAnswer?>,
        scores: Array<Double?>,
        failed: EscaladeException?,
        seconds: Double,
    ): Answer {
        val stands = checkNotNull(said[place])
        val judged = (minOf(place, gates.lastIndex) downTo 0).firstOrNull { said[it] != null }
        return Answer(
            outcome = when {
                degraded || stands.degraded -> Outcome.DEGRADED
                place == 0 -> Outcome.ANSWERED
                else -> Outcome.DEFERRED
            },
            text = stands.text,
            tier = tiers[place].name,
            place = tiers[place].place,
            tiers = said,
            score = judged?.let { scores[it] },
            threshold = judged?.let { gates[it].threshold },
            rule = judged?.let { gates[it].rule.name },
            reason = failed?.message,
            seconds = seconds,
        )
    }

    private fun scoreOf(gate: Gate, said: TierAnswer): Double =
        if (said.logprobs.isEmpty()) Double.NaN else gate.rule.score(said.logprobs.toDoubleArray())
}

// What a tier of a cascade is, what it is asked and what it says; knows no model, no network.
package escalade.core.cascade

import escalade.core.deferral.Gate
import java.util.UUID

/** Where a tier runs. */
enum class Place { DEVICE, GATEWAY, CLOUD }

/** Why a response ended. */
enum class Stop { END, LENGTH, STOP, STOPPED_EARLY }

/**
 * A query.
 *
 * @param stop texts that end the answer before them.
 * @param requestId the same id is the same request: a second try is answered once.
 */
data class Query(
    val text: String,
    val maxNewTokens: Int? = null,
    val stop: List<String> = emptyList(),
    val requestId: String = UUID.randomUUID().toString(),
)

/** What one model said on the way up; sent along. [score] is null where it was stopped early. */
data class Draft(
    val promptIds: List<Int>,
    val ids: List<Int>,
    val logprobs: List<Double>,
    val tokenizerFingerprint: String,
    val score: Double? = null,
    val threshold: Double? = null,
    val rule: String = "",
)

/** What a tier said. */
data class TierAnswer(
    val text: String,
    val model: String,
    /** Of every token generated, the end-of-sequence token's too; natural. Empty where they are not known. */
    val logprobs: List<Double>,
    val stop: Stop,
    val seconds: Double,
    /** Of a tier on this device. */
    val draft: Draft? = null,
    /** A gateway's own tier above did not answer: this is the best that there was. */
    val degraded: Boolean = false,
)

/** What a tier is asked. */
class Call(
    val query: Query,
    /** What is judged after it; null after the last, and where the answer is to be whole. */
    val gate: Gate?,
    val draft: Draft?,
    /** Asked between tokens and while a link is waited for. */
    val cancelled: () -> Boolean,
    val onEvent: (Event) -> Unit,
)

/** A tier. One query at a time. */
interface Tier {
    val name: String
    val place: Place

    /**
     * Answer; blocks, and is no work for the thread of a screen. Null where it was cancelled.
     *
     * @throws escalade.core.CloudException a tier elsewhere did not answer.
     * @throws escalade.core.PromptException the model cannot take the query.
     */
    fun ask(call: Call): TierAnswer?
}

/** What happens to a query, as it happens; [tier] is a tier's name. */
sealed interface Event {
    val tier: String

    /** A token of a model on this device; [piece] is what it added to the text, which may be nothing. */
    data class Token(override val tier: String, val id: Int, val logprob: Double, val piece: String) : Event

    /** A piece of an answer from elsewhere. */
    data class Piece(override val tier: String, val text: String) : Event

    /** A gate has judged; [score] is null where the answer was stopped early. */
    data class Scored(override val tier: String, val score: Double?, val threshold: Double, val defers: Boolean) : Event

    /** A tier that was due did not answer. */
    data class Failed(override val tier: String, val reason: String) : Event
}

// An answer from elsewhere as plain values, before anybody believes it; knows no protobuf.
package escalade.core.wire

/** Why a response ended, as the wire names it; [isAnswer] where there is an answer then. */
enum class StopReason(val isAnswer: Boolean) {
    UNSPECIFIED(false),
    END_OF_SEQUENCE(true),
    STOP_SEQUENCE(true),
    MAX_TOKENS(true),
    CONTEXT_LIMIT(true),
    DEADLINE(false),
    CANCELLED(false),
}

/** Who a model is. */
data class Identity(val name: String, val revision: String = "", val tokenizerFingerprint: String = "")

/** A tier that the query went through; times in seconds. */
data class Report(
    val tier: String,
    val models: List<Identity>,
    val seconds: List<Double>,
    val threshold: Double? = null,
)

/** What a server says of a draft. */
data class DraftVerdict(val accepted: Long, val lenient: Long, val margin: Double, val correctionId: Long?)

/** An answer; log-probabilities natural, times in seconds. */
data class Heard(
    val requestId: String,
    val model: Identity,
    val tokenIds: List<Long>,
    val logprobs: List<Double>,
    val text: String,
    val stop: StopReason,
    val queueS: Double = 0.0,
    val computeS: Double = 0.0,
    val reports: List<Report> = emptyList(),
    val draft: DraftVerdict? = null,
    val degraded: Boolean = false,
)

/** What was asked, as much of it as an answer is held against. */
data class Asked(
    val requestId: String,
    /** Empty where the prompt went as text. */
    val tokenizerFingerprint: String,
    val maxNewTokens: Int?,
    val draftTokens: Int,
)

// What a server says, held against what can be; as edge/escalade/edge/wire/checks.py.
//
// A server is another program, perhaps of another version, perhaps nobody's friend. What cannot be is a
// CloudException of reason BAD_ANSWER: the query is degraded, not misled.
package escalade.core.wire

import escalade.core.CloudException

// A float32 log-probability of a certain token may be rounded to just above 0.
private const val ROUNDING = 1e-5

// Of a tier or a model: it stands in messages and on a screen.
private const val LONGEST_NAME = 256

/**
 * Refuse an answer that is to another question, or none.
 *
 * @param where who said it, for the message.
 * @param vocabularySizes of the tokenizers that are known, by their fingerprint.
 * @throws CloudException of reason BAD_ANSWER.
 */
fun checkAnswer(asked: Asked, heard: Heard, where: String, vocabularySizes: Map<String, Int>) {
    val tokens = heard.tokenIds.size
    // Who is asked in ids, and does not say otherwise, answers in the same.
    val size = vocabularySizes[heard.model.tokenizerFingerprint.ifEmpty { asked.tokenizerFingerprint }]
    val times = heard.reports.flatMap { it.seconds } + listOf(heard.queueS, heard.computeS, heard.queueS + heard.computeS)
    refuse(
        where,
        wrongNames(listOf(heard.model) + heard.reports.flatMap { it.models }, heard.reports.map { it.tier }) ?: when {
            heard.requestId != asked.requestId || !heard.stop.isAnswer -> "the answer is not to this question"
            heard.logprobs.any { !(it <= ROUNDING) } ->
                "a log-probability of the answer is above 0 or no number"
            heard.logprobs.isNotEmpty() && heard.logprobs.size !in tokens..tokens + 1 ->
                "${heard.logprobs.size} log-probabilities for $tokens tokens"
            asked.maxNewTokens != null && tokens > asked.maxNewTokens ->
                "$tokens tokens, at most ${asked.maxNewTokens} were asked for"
            size != null && heard.tokenIds.any { it >= size } ->
                "token id ${heard.tokenIds.max()}, its tokenizer has 0..${size - 1}"
            times.any { !(it >= 0 && it < Double.POSITIVE_INFINITY) } -> "its times are negative or no numbers"
            heard.reports.any { it.threshold?.isFinite() == false } -> "a threshold of its tiers is no finite number"
            heard.draft?.let { mayBe(it, asked, size) } == false -> "what it says of the draft cannot be"
            else -> null
        },
    )
}

/**
 * Refuse a piece of an answer that cannot be one.
 *
 * @throws CloudException of reason BAD_ANSWER.
 */
fun checkChunk(asked: Asked, ids: List<Long>, logprobs: List<Double>, where: String, vocabularySizes: Map<String, Int>) {
    val size = vocabularySizes[asked.tokenizerFingerprint]
    refuse(
        where,
        when {
            logprobs.any { !(it <= ROUNDING) } -> "a log-probability of the answer is above 0 or no number"
            logprobs.isNotEmpty() && logprobs.size != ids.size ->
                "${logprobs.size} log-probabilities for ${ids.size} tokens"
            size != null && ids.any { it >= size } -> "token id ${ids.max()}, its tokenizer has 0..${size - 1}"
            else -> null
        },
    )
}

/**
 * Refuse a server that does not say who it is.
 *
 * @throws CloudException of reason BAD_ANSWER.
 */
fun checkInfo(model: Identity, parameters: Long, where: String) {
    val named = model.name.isNotEmpty() && parameters >= 1
    refuse(where, wrongNames(listOf(model), emptyList()) ?: if (named) null else "GetModelInfo names no model")
}

private fun mayBe(verdict: DraftVerdict, asked: Asked, size: Int?) =
    verdict.lenient == 0L && // no acceptance was asked for
        verdict.accepted in 0..asked.draftTokens.toLong() &&
        verdict.margin >= 0 &&
        (size == null || (verdict.correctionId ?: 0) < size)

private fun wrongNames(models: List<Identity>, tiers: List<String>): String? {
    val names = models.flatMap { listOf(it.name, it.revision, it.tokenizerFingerprint) } + tiers
    val wrong = names.find { it.codePointCount(0, it.length) > LONGEST_NAME || !isPrintable(it) } ?: return null
    return "a name of at most $LONGEST_NAME printable characters, got '${wrong.filterNot(Char::isISOControl).take(40)}'"
}

/** As Python's str.isprintable: no control, format, private, unassigned character, no separator but a space. */
private fun isPrintable(text: String) = text.codePoints().allMatch { one ->
    one == ' '.code || when (Character.getType(one).toByte()) {
        Character.CONTROL, Character.FORMAT, Character.SURROGATE, Character.PRIVATE_USE, Character.UNASSIGNED,
        Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR, Character.SPACE_SEPARATOR,
        -> false
        else -> true
    }
}

private fun refuse(where: String, wrong: String?) {
    if (wrong != null) throw CloudException("BAD_ANSWER", "$where: $wrong")
}

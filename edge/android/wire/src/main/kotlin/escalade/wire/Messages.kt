// Queries as messages of the wire, and messages as plain values; knows no channel.
package escalade.wire

import escalade.core.cascade.Call
import escalade.core.cascade.Draft
import escalade.core.wire.Asked
import escalade.core.wire.DraftVerdict
import escalade.core.wire.Heard
import escalade.core.wire.Identity
import escalade.core.wire.Report
import escalade.core.wire.StopReason
import escalade.v1.Cascade as Pb

/** A request, and what its answer is held against. */
internal class Sent(val request: Pb.GenerateRequest, val asked: Asked)

/**
 * What a tier elsewhere is asked.
 *
 * @param fingerprint of its tokenizer. Where it is the draft's, tokens and the draft travel; else text.
 */
internal fun sent(call: Call, fingerprint: String): Sent {
    val draft = call.draft?.takeIf { it.tokenizerFingerprint == fingerprint }
    val query = call.query
    val prompt = Pb.Prompt.newBuilder()
    if (draft == null) prompt.text = query.text else prompt.tokens = tokens(draft.promptIds, fingerprint)
    val request = Pb.GenerateRequest.newBuilder()
        .setRequestId(query.requestId)
        .setPrompt(prompt)
        .setOutput(Pb.OutputOptions.newBuilder().setLogprobs(true))
        .setStopping(
            Pb.StoppingOptions.newBuilder().addAllStopSequences(query.stop)
                .apply { query.maxNewTokens?.let(::setMaxNewTokens) },
        )
    if (draft != null && draft.ids.isNotEmpty()) request.draft = messageOf(draft)
    val asked = Asked(query.requestId, draft?.tokenizerFingerprint.orEmpty(), query.maxNewTokens, draft?.ids?.size ?: 0)
    return Sent(request.build(), asked)
}

private fun messageOf(draft: Draft): Pb.Draft = Pb.Draft.newBuilder()
    .setTokens(tokens(draft.ids, draft.tokenizerFingerprint))
    .addAllLogprobs(draft.logprobs.map { it.toFloat() })
    .setRule(draft.rule)
    .apply {
        draft.score?.takeIf { it.isFinite() }?.let(::setScore)
        draft.threshold?.let(::setThreshold)
    }
    .build()

private fun tokens(ids: List<Int>, fingerprint: String) =
    Pb.TokenSequence.newBuilder().addAllIds(ids).setTokenizerFingerprint(fingerprint).build()

/** An answer as plain values, not yet believed. */
internal fun heard(response: Pb.GenerateResponse) = Heard(
    requestId = response.requestId,
    model = identity(response.model),
    tokenIds = unsigned(response.tokenIdsList),
    logprobs = response.logprobsList.map { it.toDouble() },
    text = response.text,
    stop = StopReason.entries.getOrElse(response.stopReasonValue) { StopReason.UNSPECIFIED },
    queueS = response.timing.queueS,
    computeS = response.timing.computeS,
    reports = response.reportsList.map { report ->
        Report(
            tier = report.tier,
            models = report.membersList.map { identity(it.model) },
            seconds = report.membersList.map { it.seconds } + report.seconds,
            threshold = if (report.hasThreshold()) report.threshold else null,
        )
    },
    draft = if (!response.hasDraftOutcome()) null else response.draftOutcome.run {
        DraftVerdict(
            accepted = Integer.toUnsignedLong(acceptedCount),
            lenient = Integer.toUnsignedLong(lenientCount),
            margin = margin.toDouble(),
            correctionId = if (hasCorrectionId()) Integer.toUnsignedLong(correctionId) else null,
        )
    },
    degraded = response.degraded,
)

/** Who a model is. */
internal fun identity(model: Pb.ModelIdentity) = Identity(model.name, model.revision, model.tokenizerFingerprint)

/** Token ids: uint32 on the wire, which Java has as Int. */
internal fun unsigned(ids: List<Int>): List<Long> = ids.map(Integer::toUnsignedLong)

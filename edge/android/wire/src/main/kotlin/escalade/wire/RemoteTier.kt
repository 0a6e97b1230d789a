// A tier elsewhere: `escalade serve` or `escalade gateway` over gRPC; knows no model, no Android.
package escalade.wire

import escalade.core.CloudException
import escalade.core.cascade.Call
import escalade.core.cascade.Event
import escalade.core.cascade.Place
import escalade.core.cascade.Stop
import escalade.core.cascade.Tier
import escalade.core.cascade.TierAnswer
import escalade.core.wire.Heard
import escalade.core.wire.Identity
import escalade.core.wire.StopReason
import escalade.core.wire.checkAnswer
import escalade.core.wire.checkChunk
import escalade.core.wire.checkInfo
import escalade.v1.Cascade as Pb
import escalade.v1.CascadeServiceGrpc
import io.grpc.Context
import io.grpc.Deadline
import io.grpc.ManagedChannel
import io.grpc.Metadata
import io.grpc.StatusRuntimeException
import io.grpc.stub.MetadataUtils
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit.MILLISECONDS

// What a second try may mend: the same request id, so that the query is computed once.
private const val ATTEMPTS = 2

// How soon a query that nobody wants any more leaves the link.
private const val LOOK_MS = 50L
private val AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER)

/**
 * A server or a gateway as a tier.
 *
 * @param channel to it; whoever made it has seen to TLS (`checkCleartext`). Closed with this.
 * @param where its address, for messages.
 * @param token sent as `authorization: Bearer`; see `escalade token`.
 * @param deadlineS seconds that one query has here, all attempts together.
 * @param vocabularySizes of tokenizers on this device, by fingerprint: ids beyond them are not believed.
 */
class RemoteTier(
    override val name: String,
    private val channel: ManagedChannel,
    private val where: String,
    token: String? = null,
    private val deadlineS: Double = 10.0,
    override val place: Place = Place.CLOUD,
    private val vocabularySizes: Map<String, Int> = emptyMap(),
) : Tier, AutoCloseable {
    private val stub = CascadeServiceGrpc.newBlockingStub(channel).run {
        if (token == null) return@run this
        val headers = Metadata().apply { put(AUTHORIZATION, "Bearer $token") }
        withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
    }
    private val looker = Executors.newSingleThreadScheduledExecutor { Thread(it, "escalade-cancel").apply { isDaemon = true } }
    private var model: Identity? = null

    override fun ask(call: Call): TierAnswer? {
        val began = System.nanoTime()
        val deadline = Deadline.after((deadlineS * 1e3).toLong(), MILLISECONDS)
        val context = Context.current().withCancellation()
        val looking = looker.scheduleWithFixedDelay(
            { if (call.cancelled()) context.cancel(null) }, 0, LOOK_MS, MILLISECONDS,
        )
        try {
            var asked: Sent? = null
            val heard = context.call { answered(call, deadline) { asked = it } }
            checkAnswer(checkNotNull(asked).asked, heard, where, vocabularySizes)
            return tierAnswer(heard, (System.nanoTime() - began) / 1e9)
        } catch (error: StatusRuntimeException) {
            if (context.isCancelled && call.cancelled()) return null
            throw cloudException(where, error)
        } finally {
            looking.cancel(false)
            context.cancel(null)
        }
    }

    /** Ends what is under way. */
    override fun close() {
        looker.shutdownNow()
        channel.shutdownNow()
    }

    private fun answered(call: Call, deadline: Deadline, onSent: (Sent) -> Unit): Heard {
        var given = 0
        for (attempt in 1..ATTEMPTS) {
            try {
                val sent = sent(call, modelThere(deadline).tokenizerFingerprint).also(onSent)
                var came = 0
                return streamed(sent, deadline) { text ->
                    // A second try says again what the first had said.
                    val fresh = text.drop(maxOf(0, given - came))
                    came += text.length
                    given = maxOf(given, came)
                    if (fresh.isNotEmpty()) call.onEvent(Event.Piece(name, fresh))
                }
            } catch (error: StatusRuntimeException) {
                if (attempt == ATTEMPTS || !mayPass(error) || deadline.isExpired) throw error
            }
        }
        error("unreachable: the last attempt returns or throws")
    }

    private fun modelThere(deadline: Deadline): Identity {
        model?.let { return it }
        val info = stub.withDeadline(deadline).getModelInfo(Pb.GetModelInfoRequest.getDefaultInstance())
        return identity(info.model).also {
            checkInfo(it, info.parameterCount, where)
            model = it
        }
    }

    private fun streamed(sent: Sent, deadline: Deadline, onPiece: (String) -> Unit): Heard {
        val request = Pb.GenerateStreamRequest.newBuilder().setRequest(sent.request).build()
        for (message in stub.withDeadline(deadline).generateStream(request)) {
            if (message.hasFinal()) return heard(message.final)
            val chunk = message.chunk
            val logprobs = chunk.logprobsList.map { it.toDouble() }
            checkChunk(sent.asked, unsigned(chunk.tokenIdsList), logprobs, where, vocabularySizes)
            onPiece(chunk.text)
        }
        throw CloudException("UNAVAILABLE", "$where: the stream ended before the answer did")
    }

    private fun tierAnswer(heard: Heard, seconds: Double) = TierAnswer(
        text = heard.text,
        model = heard.model.name.ifEmpty { model?.name.orEmpty() },
        logprobs = heard.logprobs,
        stop = when (heard.stop) {
            StopReason.END_OF_SEQUENCE -> Stop.END
            StopReason.STOP_SEQUENCE -> Stop.STOP
            else -> Stop.LENGTH
        },
        seconds = seconds,
        degraded = heard.degraded,
    )
}

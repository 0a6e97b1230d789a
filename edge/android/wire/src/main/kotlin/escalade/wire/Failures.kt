// What gRPC says of a failed call, as the wire names it; knows no message.
package escalade.wire

import escalade.core.CloudException
import escalade.v1.Cascade.ErrorReason
import io.grpc.Metadata
import io.grpc.Status
import io.grpc.StatusRuntimeException

private const val PREFIX = "ERROR_REASON_"
private const val LONGEST_MESSAGE = 300
private val DETAILS = Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER)

/** Whether a second try, under the same request id, may mend it. */
internal fun mayPass(error: StatusRuntimeException) = error.status.code == Status.Code.UNAVAILABLE

/** One line of it; what the server wrote is shortened and loses its control characters. */
internal fun cloudException(where: String, error: StatusRuntimeException): CloudException {
    val reason = reasonOf(error)
    val said = error.status.description.orEmpty().filterNot(Char::isISOControl).take(LONGEST_MESSAGE)
    return CloudException(reason, "$where: $reason${if (said.isEmpty()) "" else ": $said"}", error)
}

private fun reasonOf(error: StatusRuntimeException): String {
    // Of the google.rpc.ErrorInfo that comes along, the reason is plain ASCII.
    val details = error.trailers?.get(DETAILS)?.toString(Charsets.ISO_8859_1).orEmpty()
    return ErrorReason.entries.map { it.name.removePrefix(PREFIX) }
        .filter { it in details }
        .maxByOrNull { it.length }
        ?: error.status.code.name
}

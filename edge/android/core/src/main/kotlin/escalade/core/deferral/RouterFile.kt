// The file of a router: one JSON object of float32 arrays; knows no score.
//
// Written by edge/escalade/edge/deferral/router_file.py.
package escalade.core.deferral

import escalade.core.ArtifactException
import escalade.core.json.Fields
import escalade.core.json.JsonException
import escalade.core.json.parseJson
import escalade.core.sha256
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64

private const val SCHEMA = 1L

/** Bytes of a file that may be a router. */
const val MAX_ROUTER_BYTES = 1 shl 24

/**
 * Read a router and check all of it.
 *
 * @param where the bytes came from, for messages.
 * @throws ArtifactException it is no router, was altered, or its numbers do not fit its widths.
 */
fun readRouter(raw: ByteArray, where: String): Router {
    try {
        if (raw.size > MAX_ROUTER_BYTES) throw JsonException("more than $MAX_ROUTER_BYTES bytes")
        val fields = Fields.fieldsOf(parseJson(raw), "")
        val schema = fields.whole("schema", SCHEMA..SCHEMA)
        val widths = fields.ids("widths", 1L..MAX_ROUTER_BYTES, least = 2)
        val weights = fields.list("weights").map { it as? String ?: fields.wrong("weights", "must be texts") }
        val biases = fields.list("biases").map { it as? String ?: fields.wrong("biases", "must be texts") }
        val said = fields.text("sha256")
        fields.done()
        // The object as msgspec writes it, without white space and with `sha256` empty.
        val unsigned = """{"schema":$schema,"widths":${written(widths)},"weights":${quoted(weights)},""" +
            """"biases":${quoted(biases)},"sha256":""}"""
        if (sha256(unsigned.toByteArray()) != said) throw JsonException("altered: its sha256 is not its own")
        return Router(layersOf(widths, weights.map(::floatsOf), biases.map(::floatsOf)))
    } catch (error: JsonException) {
        throw ArtifactException("$where: not a router: ${error.message}", error)
    } catch (error: IllegalArgumentException) { // base64, and what Router refuses
        throw ArtifactException("$where: not a router: ${error.message}", error)
    }
}

private fun layersOf(widths: List<Int>, weights: List<FloatArray>, biases: List<FloatArray>): List<Layer> {
    val count = widths.size - 1
    require(weights.size == count && biases.size == count) {
        "$count layers by widths, got ${weights.size} weights and ${biases.size} biases"
    }
    return List(count) { index ->
        val (inputs, outputs) = widths.subList(index, index + 2)
        val (weight, bias) = weights[index] to biases[index]
        require(weight.size.toLong() == inputs.toLong() * outputs && bias.size == outputs) {
            "layer $index: ${weight.size} and ${bias.size} numbers; widths $inputs and $outputs need others"
        }
        Layer(weight, bias)
    }
}

/** Little-endian float32 in base64. */
private fun floatsOf(text: String): FloatArray {
    val bytes = Base64.getDecoder().decode(text)
    require(bytes.size % Float.SIZE_BYTES == 0) { "${bytes.size} bytes are no float32 numbers" }
    val floats = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(floats.remaining()).also(floats::get)
}

private fun written(numbers: List<Int>) = numbers.joinToString(",", "[", "]")

private fun quoted(texts: List<String>) = texts.joinToString(",", "[", "]") { "\"$it\"" }

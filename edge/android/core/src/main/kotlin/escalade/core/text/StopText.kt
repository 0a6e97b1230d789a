// Where a stop text cuts a response; knows no token, no model. As protos/escalade/v1/stop_text.py.
package escalade.core.text

/** Stop texts of one query; each is searched for after every token. */
const val MAX_STOP_TEXTS = 16

/** Bytes of one in UTF-8. Where a text may yet become one, so much of it is held back. */
const val MAX_STOP_BYTES = 1 shl 10

/**
 * Where the stop text begins that a reader has seen whole first; null: there is none.
 *
 * Of two that end at the same place, the longer. So the cut does not depend on how tokens divide the text.
 *
 * @param stops texts of at least 1 character.
 */
fun findStop(text: String, stops: List<String>): Int? =
    stops.mapNotNull { stop -> text.indexOf(stop).takeIf { it >= 0 }?.let { it + stop.length to it } }
        .minWithOrNull(compareBy({ it.first }, { it.second }))?.second

/**
 * How many characters at the end of a text may yet become a stop text.
 *
 * @param text without a whole stop text in it.
 */
fun heldBack(text: String, stops: List<String>): Int {
    val longest = stops.maxOfOrNull { it.length } ?: 0
    return (minOf(text.length, longest - 1) downTo 1).firstOrNull { length ->
        stops.any { it.startsWith(text.takeLast(length)) }
    } ?: 0
}

/** Refuse stop texts that no server takes either. */
fun checkStops(stops: List<String>) {
    require(stops.size <= MAX_STOP_TEXTS) { "stop texts must be at most $MAX_STOP_TEXTS, got ${stops.size}" }
    for (stop in stops) {
        val bytes = stop.toByteArray().size
        require(bytes in 1..MAX_STOP_BYTES) { "a stop text must have 1-$MAX_STOP_BYTES bytes, got $bytes" }
    }
}

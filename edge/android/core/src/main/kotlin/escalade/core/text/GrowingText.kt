// The text of a response while it grows; knows no model.
package escalade.core.text

// What decoders put where bytes are no character, or not yet.
private const val REPLACEMENT = '\uFFFD'

/**
 * Tokens in, text out. Text that may yet change, or become a stop text, is held back.
 *
 * Stop texts are looked for in what a reader sees; the Python device finds them in spelled special tokens too.
 *
 * @param decode ids to text, special tokens left out.
 * @param stops texts that end the response before them, wherever tokens divide them.
 */
class GrowingText(private val decode: (List<Int>) -> String, private val stops: List<String> = emptyList()) {
    private val ids = ArrayList<Int>()
    private var given = ""

    init {
        checkStops(stops)
    }

    /** Whether a stop text has come up; nothing comes after it. */
    var stopped = false
        private set

    /** The response so far, as much of it as was given. */
    val text: String get() = given

    /** Go on by a token; what has become sure. */
    fun add(id: Int): String {
        check(!stopped) { "a stop text has ended this response" }
        ids += id
        // Half of a character becomes another text with the tokens that follow.
        val sure = decode(ids).trimEnd(REPLACEMENT)
        val at = findStop(sure, stops)
        stopped = at != null
        return take(sure.take(at ?: (sure.length - heldBack(sure, stops))))
    }

    /** The response has ended: what had not been given. */
    fun end(): String {
        if (stopped) return ""
        val whole = decode(ids)
        val at = findStop(whole, stops)
        stopped = at != null
        return take(whole.take(at ?: whole.length))
    }

    private fun take(sure: String): String {
        if (!sure.startsWith(given)) return ""
        val more = sure.substring(given.length)
        given = sure
        return more
    }
}

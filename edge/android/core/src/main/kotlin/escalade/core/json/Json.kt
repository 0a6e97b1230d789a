// A strict reader of JSON (RFC 8259); knows no manifest.
//
// Android has org.json, which takes what is no JSON (single quotes, comments, unquoted names), and the
// JVM has none. What signs an artifact is its bytes, so they are to mean one thing to every reader.
package escalade.core.json

/** What a document is not, and where. */
class JsonException(message: String) : Exception(message)

/** Deeper nesting is somebody's attack: the reader is recursive. */
private const val DEEPEST = 64

/**
 * The value of a document: Map, List, String, [JsonNumber], Boolean or null.
 *
 * Names that come twice are refused: two readers would take different ones.
 *
 * @throws JsonException it is not UTF-8, or no JSON; says at which character.
 */
fun parseJson(raw: ByteArray): Any? {
    val text = try {
        Charsets.UTF_8.newDecoder().decode(java.nio.ByteBuffer.wrap(raw)).toString()
    } catch (_: java.nio.charset.CharacterCodingException) {
        throw JsonException("not UTF-8")
    }
    return Reader(text).document()
}

/** A number as it is written: whole ones lose no digit. */
data class JsonNumber(val written: String) {
    /** The nearest double; infinite where none is near. */
    val double: Double get() = written.toDouble()

    /** The number where it is whole and fits, as Python reads it: `1.0` is no whole number. */
    val long: Long? get() = if (written.any { it in ".eE" }) null else written.toLongOrNull()
}

private class Reader(private val text: String) {
    private var at = 0

    fun document(): Any? {
        val value = value(0)
        space()
        if (at < text.length) fail("the document ends here")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > DEEPEST) fail("at most $DEEPEST levels")
        space()
        return when (peek()) {
            '{' -> table(depth)
            '[' -> list(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun table(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        at += 1
        if (ends('}')) return found
        do {
            space()
            if (peek() != '"') fail("a name in quotes")
            val name = string()
            space()
            take(':')
            if (name in found) fail("names once: '${name.take(80)}'")
            found[name] = value(depth + 1)
        } while (goesOn('}'))
        return found
    }

    private fun list(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        at += 1
        if (ends(']')) return found
        do found += value(depth + 1) while (goesOn(']'))
        return found
    }

    private fun string(): String {
        val made = StringBuilder()
        at += 1
        while (true) {
            val one = peek() ?: fail("the end of a text")
            at += 1
            when {
                one == '"' -> return made.toString()
                one == '\\' -> made.append(escaped())
                one < ' ' -> fail("no control character in a text")
                else -> made.append(one)
            }
        }
    }

    private fun escaped(): Char {
        val one = peek() ?: fail("a character after \\")
        at += 1
        if (one == 'u') {
            val digits = text.drop(at).take(4)
            if (!Regex("[0-9a-fA-F]{4}").matches(digits)) fail("4 hexadecimal digits after \\u")
            at += 4
            return digits.toInt(16).toChar()
        }
        val place = "\"\\/bfnrt".indexOf(one)
        if (place < 0) fail("one of \"\\/bfnrtu after \\")
        return "\"\\/\b\u000c\n\r\t"[place]
    }

    private fun number(): JsonNumber {
        val found = NUMBER.matchAt(text, at) ?: fail("a value")
        at = found.range.last + 1
        return JsonNumber(found.value)
    }

    private fun <T> word(written: String, means: T): T {
        if (!text.startsWith(written, at)) fail("a value")
        at += written.length
        return means
    }

    private fun ends(close: Char): Boolean {
        space()
        val over = peek() == close
        if (over) at += 1
        return over
    }

    private fun goesOn(close: Char): Boolean {
        if (ends(close)) return false
        take(',')
        return true
    }

    private fun take(wanted: Char) {
        if (peek() != wanted) fail("'$wanted'")
        at += 1
    }

    private fun space() {
        while (at < text.length && text[at] in " \t\n\r") at += 1
    }

    private fun peek(): Char? = text.getOrNull(at)

    private fun fail(wanted: String): Nothing = throw JsonException("character $at: wanted $wanted")

    private companion object {
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
    }
}

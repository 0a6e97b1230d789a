// The fields of a JSON object, each taken once with its range; what is left over is refused.
package escalade.core.json

/**
 * An object on its way to a class. After everything was taken, [done] refuses what is unknown: a field
 * that is not acted on may change answers.
 *
 * @param content the object.
 * @param path where it stands in its document, for messages: `model`, or nothing at the top.
 */
class Fields(private val content: Map<String, Any?>, private val path: String = "") {
    private val taken = HashSet<String>()

    /** Whether a field is there and not null; it counts as taken where it is null. */
    fun has(name: String): Boolean {
        if (name in content && content[name] == null) taken += name
        return content[name] != null
    }

    /** A text. */
    fun text(name: String): String = take(name) as? String ?: wrong(name, "must be a text")

    /** A whole number in a range. */
    fun whole(name: String, range: LongRange): Long {
        val found = (take(name) as? JsonNumber)?.long
        if (found == null || found !in range) wrong(name, "must be a whole number in $range")
        return found
    }

    /** A whole number that fits in an Int, from 1. */
    fun count(name: String, most: Long): Int = whole(name, 1..minOf(most, Int.MAX_VALUE.toLong())).toInt()

    /** A finite number in a range. */
    fun number(name: String, from: Double = -Double.MAX_VALUE, to: Double = Double.MAX_VALUE): Double {
        val found = (take(name) as? JsonNumber)?.double
        if (found == null || !(found in from..to)) wrong(name, "must be a finite number in [$from, $to]")
        return found
    }

    /** Whole numbers that fit in an Int, of a range. */
    fun ids(name: String, range: LongRange, least: Int): List<Int> {
        val all = list(name).map { (it as? JsonNumber)?.long }
        if (all.size < least || all.any { it == null || it !in range }) {
            wrong(name, "must be at least $least whole numbers in $range")
        }
        return all.map { it!!.toInt() }
    }

    /** A list of anything. */
    fun list(name: String): List<Any?> = take(name) as? List<*> ?: wrong(name, "must be a list")

    /** The object of that name. */
    fun table(name: String): Fields = fieldsOf(take(name), at(name))

    /** The objects of a list. */
    fun tables(name: String): List<Fields> =
        list(name).mapIndexed { index, one -> fieldsOf(one, "${at(name)}.$index") }

    /** An object whose names are anybody's. */
    fun entries(name: String): Map<String, Fields> =
        table(name).let { each -> each.content.mapValues { (key, one) -> fieldsOf(one, "${at(name)}.$key") } }

    /** Take fields that are for others; whatever they hold changes no answer here. */
    fun leave(vararg names: String) {
        taken += names
    }

    /** Refuse what was not taken. */
    fun done() {
        val left = content.keys - taken
        if (left.isNotEmpty()) wrong(left.first(), "is unknown to this version")
    }

    /** Refuse a field. */
    fun wrong(name: String, what: String): Nothing {
        val found = content[name].let { if (it is JsonNumber) it.written else it.toString() }
        throw JsonException("${at(name.take(80))} $what, got ${found.take(80)}")
    }

    private fun take(name: String): Any? {
        taken += name
        if (content[name] == null) throw JsonException("${at(name)} is missing")
        return content[name]
    }

    private fun at(name: String) = if (path.isEmpty()) name else "$path.$name"

    companion object {
        /** The fields of a value that must be an object. */
        fun fieldsOf(value: Any?, path: String): Fields {
            @Suppress("UNCHECKED_CAST") // the reader makes maps of texts alone
            val content = value as? Map<String, Any?>
                ?: throw JsonException("${path.ifEmpty { "the top level" }} must be an object")
            return Fields(content, path)
        }
    }
}

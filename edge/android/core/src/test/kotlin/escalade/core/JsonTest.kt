// JSON and nothing else, each name once, numbers to the last digit.
package escalade.core

import escalade.core.json.Fields
import escalade.core.json.JsonException
import escalade.core.json.JsonNumber
import escalade.core.json.parseJson
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class JsonTest {
    @Test
    fun `what JSON is`() {
        val read = parse(""" {"a": [1, -2.5e-3, "\u00e9\n\"", true, null], "b": {}} """).table()
        assertEquals(listOf(JsonNumber("1"), JsonNumber("-2.5e-3"), "é\n\"", true, null), read["a"])
        assertEquals(-2.5e-3, (read["a"].list()[1] as JsonNumber).double)
        assertEquals(9007199254740993, (parse("9007199254740993") as JsonNumber).long)
        assertEquals(null, (parse("1.0") as JsonNumber).long)
    }

    @Test
    fun `what it is not`() {
        val wrong = listOf(
            "", "{", "[1,]", "{'a': 1}", "{a: 1}", "01", "1.", ".5", "+1", "NaN", "Infinity", "nul", "\"a", "\"\\x\"",
            "\"\\u12\"", "\"\u0001\"", "1 2", "[1] // no", """{"a":1,"a":2}""", "[".repeat(100) + "]".repeat(100),
        )
        for (text in wrong) assertFailsWith<JsonException>(text) { parse(text) }
        assertFailsWith<JsonException> { parseJson(byteArrayOf(0x22, 0xff.toByte(), 0x22)) }
    }

    @Test
    fun `a field names itself, its range and its value`() {
        val fields = Fields.fieldsOf(parse("""{"n": 70000000000, "x": 1e999, "s": 1, "left": 2}"""), "model")
        val said = listOf<() -> Any>(
            { fields.count("n", 1L shl 24) }, { fields.number("x") }, { fields.text("s") }, { fields.text("none") },
            { fields.done() },
        ).map { assertFailsWith<JsonException> { it() }.message!! }
        assertTrue("model.n must be a whole number in 1..16777216, got 70000000000" == said[0], said[0])
        assertTrue("got 1e999" in said[1] && "must be a text, got 1" in said[2], said.toString())
        assertEquals(listOf("model.none is missing", "model.left is unknown to this version, got 2"), said.drop(3))
    }

    private fun parse(text: String) = parseJson(text.toByteArray())
}

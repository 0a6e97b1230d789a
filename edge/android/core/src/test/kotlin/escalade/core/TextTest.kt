// Growing texts and stop texts, wherever tokens divide them.
package escalade.core

import escalade.core.text.GrowingText
import escalade.core.text.findStop
import escalade.core.text.heldBack
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class TextTest {
    /** Tokens are bytes: a character may take several. */
    private fun decode(ids: List<Int>) = ByteArray(ids.size) { ids[it].toByte() }.decodeToString()

    private fun grown(text: String, stops: List<String> = emptyList()): Pair<List<String>, GrowingText> {
        val growing = GrowingText(::decode, stops)
        val pieces = ArrayList<String>()
        for (byte in text.toByteArray()) {
            pieces += growing.add(byte.toInt())
            if (growing.stopped) break
        }
        pieces += growing.end()
        assertEquals(growing.text, pieces.joinToString(""))
        return pieces to growing
    }

    @Test
    fun `half of a character is held back`() {
        val (pieces, growing) = grown("aé😀b")
        assertEquals("aé😀b", growing.text)
        assertTrue(pieces.none { '\uFFFD' in it } && !growing.stopped)
        val cut = GrowingText(::decode)
        cut.add(0xc3)
        assertEquals("\uFFFD", cut.end())
    }

    @Test
    fun `a stop text ends it before it`() {
        assertEquals("AA B", grown("AA B STOP C", listOf(" STOP")).second.text)
        assertEquals("AA B ST", grown("AA B ST", listOf(" STOP")).second.text)
        val (pieces, growing) = grown("xabcy", listOf("abc", "bc"))
        assertEquals("x", growing.text)
        assertTrue(growing.stopped && pieces.none { 'a' in it }, pieces.toString())
    }

    @Test
    fun `of several, the one that is whole first, and then the longer`() {
        assertEquals(1, findStop("xabcy", listOf("abcy", "bc", "abc")))
        assertEquals(null, findStop("xab", listOf("abc")))
        assertEquals(2, heldBack("xab", listOf("abc")))
        assertEquals(0, heldBack("xab", emptyList()))
    }

    @Test
    fun `stop texts that are none`() {
        assertFailsWith<IllegalArgumentException> { GrowingText(::decode, listOf("")) }
        assertFailsWith<IllegalArgumentException> { GrowingText(::decode, List(17) { "a" }) }
        assertFailsWith<IllegalArgumentException> { GrowingText(::decode, listOf("é".repeat(513))) }
    }
}

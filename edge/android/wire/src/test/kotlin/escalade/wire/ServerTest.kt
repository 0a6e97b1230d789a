// A real `escalade serve` is asked, as a phone would; the transport alone is another (netty for okhttp).
package escalade.wire

import escalade.core.CloudException
import escalade.core.cascade.Call
import escalade.core.cascade.Cascade
import escalade.core.cascade.Draft
import escalade.core.cascade.Event
import escalade.core.cascade.Outcome
import escalade.core.cascade.Place
import escalade.core.cascade.Query
import escalade.core.cascade.Stop
import escalade.core.cascade.Tier
import escalade.core.cascade.TierAnswer
import escalade.core.deferral.Gate
import escalade.core.deferral.MeanRule
import escalade.core.wire.Address
import io.grpc.ManagedChannelBuilder
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue

class ServerTest {
    private val prompt = given("escalade.prompt")
    private val fingerprint = given("escalade.fingerprint")
    private val ids = given("escalade.ids").split(",").map(String::toInt)
    private val expected = given("escalade.answer")

    private fun given(name: String) = checkNotNull(System.getProperty(name)) { "tests need -D$name" }

    private fun remote(address: String = given("escalade.server"), sizes: Map<String, Int> = emptyMap()): RemoteTier {
        val (host, port) = Address.parse(address)
        val channel = ManagedChannelBuilder.forAddress(host, port).usePlaintext().build()
        return RemoteTier("large", channel, address, deadlineS = 20.0, vocabularySizes = sizes)
    }

    /** Says nothing useful, with the prompt's ids and a wrong draft. */
    private inner class Unsure(private val fingerprint: String) : Tier {
        override val name = "small"
        override val place = Place.DEVICE

        override fun ask(call: Call) = TierAnswer(
            "?", "small", listOf(-9.0), Stop.END, 0.0, Draft(ids, ids.take(2), listOf(-9.0, -9.0), fingerprint),
        )
    }

    private fun asked(tier: RemoteTier, fingerprint: String, events: MutableList<Event> = ArrayList()) =
        tier.use { Cascade(listOf(Unsure(fingerprint), it), listOf(Gate(MeanRule, 1.0))).ask(Query(prompt), onEvent = events::add) }

    @Test
    fun `a query that is deferred as tokens, with its draft`() {
        val events = ArrayList<Event>()
        val answer = checkNotNull(asked(remote(), fingerprint, events))
        assertEquals(listOf(Outcome.DEFERRED, expected), listOf(answer.outcome, answer.text))
        assertEquals(expected, events.filterIsInstance<Event.Piece>().joinToString("") { it.text })
        assertTrue(answer.tiers[1]!!.logprobs.all { it <= 1e-5 } && answer.tiers[1]!!.logprobs.isNotEmpty())
    }

    @Test
    fun `a device with another tokenizer sends text`() {
        assertEquals(expected, asked(remote(), "another")?.text)
    }

    @Test
    fun `ids that this device does not know are not believed`() {
        val answer = checkNotNull(asked(remote(sizes = mapOf(fingerprint to 1)), fingerprint))
        assertEquals(listOf(Outcome.DEGRADED, "?"), listOf(answer.outcome, answer.text))
        assertTrue("its tokenizer has 0..0" in answer.reason!!, answer.reason)
    }

    @Test
    fun `nobody there is degraded, and says so`() {
        val answer = checkNotNull(asked(remote("127.0.0.1:1"), fingerprint))
        assertEquals(Outcome.DEGRADED, answer.outcome)
        assertTrue(answer.reason!!.startsWith("127.0.0.1:1: UNAVAILABLE"), answer.reason)
    }

    @Test
    fun `what a server refuses is called by its reason`() {
        remote().use { tier ->
            val call = Call(Query(prompt, maxNewTokens = 1 shl 30), null, null, { false }, {})
            val error = assertFailsWith<CloudException> { tier.ask(call) }
            assertEquals("OPTION_OUT_OF_RANGE", error.reason)
        }
    }

    @Test
    fun `cancelled, it says nothing`() {
        remote().use { assertNull(it.ask(Call(Query(prompt), null, null, { true }, {}))) }
    }
}

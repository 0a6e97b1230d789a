// What a server may say, and whom the clear may reach; one number changed at a time.
package escalade.core

import escalade.core.wire.Address
import escalade.core.wire.Asked
import escalade.core.wire.DraftVerdict
import escalade.core.wire.Heard
import escalade.core.wire.Identity
import escalade.core.wire.Report
import escalade.core.wire.StopReason
import escalade.core.wire.checkAnswer
import escalade.core.wire.checkChunk
import escalade.core.wire.checkCleartext
import escalade.core.wire.checkInfo
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

class WireTest {
    private val asked = Asked("id", "f", maxNewTokens = 3, draftTokens = 2)
    private val good = Heard(
        "id", Identity("large", "r", "f"), listOf(1, 8), listOf(-0.1, 1e-6, -2.0), "a b", StopReason.END_OF_SEQUENCE,
        0.1, 0.2, listOf(Report("large", listOf(Identity("large")), listOf(0.3, 0.2))), DraftVerdict(1, 0, 0.5, 8),
    )

    private fun check(heard: Heard) = checkAnswer(asked, heard, "h:1", mapOf("f" to 9))

    @Test
    fun `an answer that can be`() {
        check(good)
        check(good.copy(logprobs = emptyList(), draft = null))
        check(good.copy(model = Identity("other", "", "g"), tokenIds = listOf(1, 100)))
    }

    @Test
    fun `an answer that cannot be`() {
        val report = good.reports.single()
        val wrong = listOf(
            good.copy(requestId = "other"),
            good.copy(stop = StopReason.DEADLINE),
            good.copy(stop = StopReason.UNSPECIFIED),
            good.copy(logprobs = listOf(-0.1, 0.1)),
            good.copy(logprobs = listOf(-0.1, Double.NaN)),
            good.copy(logprobs = listOf(-0.1)),
            good.copy(tokenIds = listOf(1, 9)),
            good.copy(tokenIds = listOf(1, 2, 3, 4), logprobs = emptyList()),
            good.copy(model = Identity("x".repeat(257))),
            good.copy(model = Identity("a\u001b[2J")),
            good.copy(model = Identity("a\u202eb")),
            good.copy(queueS = -1.0),
            good.copy(computeS = Double.POSITIVE_INFINITY),
            good.copy(reports = listOf(report.copy(seconds = listOf(Double.NaN)))),
            good.copy(reports = listOf(report.copy(tier = "a\nb"))),
            good.copy(reports = listOf(report.copy(threshold = Double.NaN))),
            good.copy(draft = DraftVerdict(3, 0, 0.5, null)),
            good.copy(draft = DraftVerdict(1, 1, 0.5, null)),
            good.copy(draft = DraftVerdict(1, 0, Double.NaN, null)),
            good.copy(draft = DraftVerdict(1, 0, 0.5, 9)),
        )
        for (heard in wrong) {
            assertEquals("BAD_ANSWER", assertFailsWith<CloudException>(heard.toString()) { check(heard) }.reason)
        }
    }

    @Test
    fun `pieces and names`() {
        checkChunk(asked, listOf(1, 2), listOf(-1.0, -2.0), "h:1", mapOf("f" to 9))
        for ((ids, logprobs) in listOf(listOf(1L, 9L) to listOf(), listOf(1L) to listOf(-1.0, -1.0), listOf(1L) to listOf(0.5))) {
            assertFailsWith<CloudException> { checkChunk(asked, ids, logprobs, "h:1", mapOf("f" to 9)) }
        }
        checkInfo(Identity("large"), 1, "h:1")
        assertFailsWith<CloudException> { checkInfo(Identity(""), 1, "h:1") }
        assertFailsWith<CloudException> { checkInfo(Identity("large"), 0, "h:1") }
    }

    @Test
    fun `the clear reaches this device alone`() {
        for (text in listOf("127.0.0.1:80", "127.9.255.1:1", "LOCALHOST.:80", "[::1]:65535")) {
            checkCleartext(Address.parse(text), tls = false)
        }
        for (text in listOf("example.org:443", "10.0.2.2:80", "127.0.0.1.example.org:80", "127.0.0.256:80", "[::2]:80")) {
            checkCleartext(Address.parse(text), tls = true)
            assertFailsWith<IllegalArgumentException>(text) { checkCleartext(Address.parse(text), tls = false) }
        }
        for (text in listOf("", "host", ":1", "host:", "host:0", "host:65536", "http://h:1", "u@h:1", "::1:80", "[h]:1", "h :1")) {
            assertFailsWith<IllegalArgumentException>(text) { Address.parse(text) }
        }
        assertEquals("[::1]:80", Address.parse("[::1]:80").toString())
    }
}

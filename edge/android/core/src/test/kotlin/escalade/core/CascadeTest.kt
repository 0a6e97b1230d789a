// A query on its way: who answers it, what is sent, what ends it; scripted tiers, no model, no network.
package escalade.core

import escalade.core.artifact.Folder
import escalade.core.artifact.OpenedArtifact
import escalade.core.cascade.Answer
import escalade.core.cascade.Call
import escalade.core.cascade.Cascade
import escalade.core.cascade.DeviceTier
import escalade.core.cascade.Event
import escalade.core.cascade.Outcome
import escalade.core.cascade.Place
import escalade.core.cascade.Query
import escalade.core.cascade.Stop
import escalade.core.cascade.Tier
import escalade.core.cascade.TierAnswer
import escalade.core.deferral.Early
import escalade.core.deferral.Gate
import escalade.core.deferral.MeanRule
import escalade.core.deferral.Statistic
import escalade.core.deferral.Likely
import java.io.File
import kotlin.math.abs
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue

class CascadeTest {
    private class Scripted(override val name: String, private val say: (Call) -> TierAnswer?) : Tier {
        override val place = Place.CLOUD
        val calls = ArrayList<Call>()

        override fun ask(call: Call): TierAnswer? {
            calls += call
            return say(call)
        }
    }

    private fun said(text: String, vararg logprobs: Double) =
        TierAnswer(text, text, logprobs.toList(), Stop.END, 0.0)

    private fun above() = Scripted("above") { said("above", -0.1) }

    private fun gone(reason: String = "UNAVAILABLE") = Scripted("gone") { throw CloudException(reason, "gone: $reason") }

    private val half = Gate(MeanRule, 0.5)

    private fun Cascade.asked(): Answer = checkNotNull(ask(Query("x")))

    @Test
    fun `it climbs until a gate lets an answer stand`() {
        for ((first, second, wanted) in listOf(
            Triple(-0.1, -0.1, "a ANSWERED"), Triple(-0.5, -0.1, "b DEFERRED"), Triple(-9.0, -9.0, "c DEFERRED"),
            Triple(Double.NaN, -0.1, "b DEFERRED"),
        )) {
            val tiers = listOf(
                Scripted("a") { said("a", first) }, Scripted("b") { said("b", second) }, Scripted("c") { said("c") },
            )
            val answer = Cascade(tiers, listOf(half, half)).asked()
            assertEquals(wanted, "${answer.text} ${answer.outcome}")
            assertEquals(answer.tier, tiers.last { it.calls.isNotEmpty() }.name)
            assertEquals(0.5, answer.threshold)
        }
    }

    @Test
    fun `a tier that is silent is passed over, and the best answer so far stands`() {
        val unsure = Scripted("a") { said("a", -1.0) }
        val passed = Cascade(listOf(unsure, gone(), above()), listOf(half, half)).asked()
        assertEquals(listOf(Outcome.DEFERRED, "above", "gone: UNAVAILABLE"), listOf(passed.outcome, passed.text, passed.reason))
        val alone = Cascade(listOf(unsure, gone()), listOf(half)).asked()
        assertEquals(listOf(Outcome.DEGRADED, "a", 1.0), listOf(alone.outcome, alone.text, alone.score))
        assertFailsWith<CloudException> { Cascade(listOf(gone()), emptyList()).asked() }
        val worse = Scripted("b") { said("b", -1.0).copy(degraded = true) }
        assertEquals(Outcome.DEGRADED, Cascade(listOf(unsure, worse), listOf(half)).asked().outcome)
    }

    @Test
    fun `a model without log-probabilities is never sure`() {
        assertEquals("above", Cascade(listOf(Scripted("a") { said("a") }, above()), listOf(half)).asked().text)
    }

    @Test
    fun `what is no cascade`() {
        val one = above()
        for ((tiers, gates) in listOf(listOf<Tier>() to listOf(), listOf(one) to listOf(half), listOf(one, gone()) to listOf(), listOf(one, one) to listOf(half))) {
            assertFailsWith<CascadeException> { Cascade(tiers, gates) }
        }
        assertFailsWith<IllegalArgumentException> { Gate(MeanRule, Double.NaN) }
    }

    @Test
    fun `cancelled, nothing is asked above`() {
        val next = above()
        assertNull(Cascade(listOf(Scripted("a") { null }, next), listOf(half)).ask(Query("x")))
        assertTrue(next.calls.isEmpty())
    }

    private val folder = Folder.open(File(given("escalade.artifact")))
    private val golden = folder.manifest.golden.maxBy { it.tokenIds.size }

    private fun device() =
        OpenedArtifact.open(folder, { Reciting(folder) }) { Replaying(folder) { it } }

    @Test
    fun `what an artifact said goes along, without its end`() {
        val next = above()
        val tau = golden.nll
        val artifact = device()
        val events = ArrayList<Event>()
        val gate = checkNotNull(DeviceTier.gateOf(artifact, threshold = tau - 1e-9))
        val cascade = Cascade(listOf(DeviceTier("small", artifact), next), listOf(gate))
        val answer = checkNotNull(cascade.ask(Query(golden.prompt), onEvent = events::add))
        val draft = checkNotNull(next.calls.single().draft)
        assertEquals(Outcome.DEFERRED, answer.outcome)
        assertEquals(golden.promptIds, draft.promptIds)
        assertEquals(golden.tokenIds.filterNot { it in folder.manifest.model.endOfSequenceIds }, draft.ids)
        assertEquals(draft.ids.size, draft.logprobs.size)
        assertEquals("mean", draft.rule)
        assertTrue(abs(checkNotNull(draft.score) - golden.nll) < 1e-9)
        assertEquals(golden.tokenIds.size, events.count { it is Event.Token })
        assertEquals(true, events.filterIsInstance<Event.Scored>().single().defers)
        val kept = Cascade(listOf(DeviceTier("small", artifact), next), listOf(gate.copy(threshold = tau + 1e-9)))
        assertEquals(listOf(Outcome.ANSWERED, Place.DEVICE), kept.ask(Query(golden.prompt))?.run { listOf(outcome, place) })
        assertEquals(1, next.calls.size)
    }

    @Test
    fun `early, the answer is not finished and has no score, and is whole again where nobody answers`() {
        val artifact = device()
        val likely = Likely(Statistic.MIN, 0.0, minTokens = 1)
        val gate = Gate(MeanRule, golden.nll - 1e-9, Early.LIKELY, likely)
        val next = above()
        val answer = checkNotNull(Cascade(listOf(DeviceTier("small", artifact), next), listOf(gate)).ask(Query(golden.prompt)))
        assertEquals(listOf(Outcome.DEFERRED, null), listOf(answer.outcome, answer.score))
        assertEquals(Stop.STOPPED_EARLY, answer.tiers[0]?.stop)
        assertEquals(listOf(1, null), next.calls.single().draft?.run { listOf(ids.size, score) })
        val alone = checkNotNull(Cascade(listOf(DeviceTier("small", artifact), gone()), listOf(gate)).ask(Query(golden.prompt)))
        assertEquals(listOf(Outcome.DEGRADED, Stop.END), listOf(alone.outcome, alone.tiers[0]?.stop))
        assertEquals(artifact.decode(golden.tokenIds.filterNot { it in folder.manifest.model.endOfSequenceIds }), alone.text)
    }

    @Test
    fun `a device that is cancelled says nothing`() {
        val next = above()
        val gate = Gate(MeanRule, 0.0)
        var asked = 0
        val cascade = Cascade(listOf(DeviceTier("small", device()), next), listOf(gate))
        assertNull(cascade.ask(Query(golden.prompt), cancelled = { asked++ > 0 }))
        assertTrue(next.calls.isEmpty())
    }
}

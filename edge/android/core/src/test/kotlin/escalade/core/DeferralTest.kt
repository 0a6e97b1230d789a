// Every rule, bound and early stop gives Python's numbers: edge/web/test/vectors/deferral.json.
package escalade.core

import escalade.core.deferral.DeferralRule
import escalade.core.deferral.EarlyStop
import escalade.core.deferral.Likely
import escalade.core.deferral.Statistic
import escalade.core.deferral.defers
import escalade.core.deferral.readRouter
import escalade.core.deferral.ruleNamed
import escalade.core.json.JsonNumber
import escalade.core.json.parseJson
import java.io.File
import kotlin.math.abs
import kotlin.math.max
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class DeferralTest {
    private val vectors = parseJson(File(given("escalade.vectors")).readBytes()).table()
    private val routerFile = vectors["router"].table()["file"] as String
    private val router = readRouter(routerFile.toByteArray(), "router.json")
    private val responses = vectors["responses"].list().map { it.numbers() }

    @Test
    fun `scores and bounds of every rule`() {
        val all = vectors["rules"].list() + vectors["router"]
        assertTrue(all.size > 5)
        for (one in all.map { it.table() }) {
            val name = one["name"] as String
            val rule = named(name)
            // BLAS adds a router's layers in an order of its own; all others to the last bit.
            val off = if (name == "router") 1e-11 else 0.0
            assertEquals(name, rule.name)
            same(rule.lowest, one["lowest"].number(), off, "lowest of $name")
            val (scores, bounds) = one["scores"].list() to one["bounds"].list()
            for ((index, response) in responses.withIndex()) {
                same(rule.score(response), scores[index].number(), off, "score $index of $name")
                val bound = rule.runningBound(response.size + 4)
                for ((place, wanted) in bounds[index].list().withIndex()) {
                    same(bound.add(response[place]), wanted.number(), off, "bound $place of response $index, $name")
                }
            }
        }
    }

    @Test
    fun `early stops, certain and likely`() {
        val cases = vectors["early"].list().map { it.table() }
        assertTrue(cases.size > 10)
        for (case in cases) {
            for ((statistic, flags) in case["stops"].table()) {
                val threshold = case["threshold"].number()
                val longest = case["longest"].number().toInt()
                val likely = Likely(
                    Statistic.valueOf(statistic.uppercase()),
                    case["level"].number(),
                    case["min_tokens"].number().toInt(),
                )
                val certain = EarlyStop(named(case["rule"] as String), threshold, longest)
                val either = EarlyStop(named(case["rule"] as String), threshold, longest, likely)
                val logprobs = case["logprobs"].numbers().toList()
                val what = "${case["rule"]} and $statistic"
                assertEquals(flags.table()["certain"], logprobs.map(certain::add), what)
                assertEquals(flags.table()["likely"], logprobs.map(either::add), what)
            }
        }
    }

    @Test
    fun `equation 4, and NaN always defers`() {
        val cases = vectors["defers"].list().map { it.list() }
        assertTrue(cases.isNotEmpty())
        for ((score, tau, wanted) in cases) assertEquals(wanted, defers(score.number(), tau.number()), "$score at $tau")
    }

    @Test
    fun `rules that are none`() {
        for (name in listOf("median", "quantile", "quantile:", "quantile:2", "quantile:x", "quantile:0.5f", "router", "")) {
            assertTrue("must be" in assertFailsWith<IllegalArgumentException>(name) { ruleNamed(name) }.message!!)
        }
        assertFailsWith<IllegalArgumentException> { ruleNamed("mean").score(doubleArrayOf()) }
        assertFailsWith<IllegalArgumentException> { EarlyStop(ruleNamed("mean"), 1.0, 0) }
        val bound = ruleNamed("sum").runningBound(1)
        bound.add(-1.0)
        assertFailsWith<IllegalArgumentException> { bound.add(-1.0) }
    }

    @Test
    fun `a router that is none, or was altered`() {
        val first = Regex("\"weights\":\\s*\\[\\s*\"(.)").find(routerFile)!!.groups[1]!!
        val other = routerFile.replaceRange(first.range, if (first.value == "A") "B" else "A")
        val broken = listOf("", "[]", "{}", """{"schema":2}""", routerFile.replaceFirst("16", "17"), other)
        for (text in broken) {
            val error = assertFailsWith<ArtifactException> { readRouter(text.toByteArray(), "router.json") }
            assertTrue(error.message!!.startsWith("router.json: not a router"), error.message)
        }
    }

    private fun named(name: String): DeferralRule = if (name == "router") router else ruleNamed(name)

    /** @param off relative to the number; 0 is to the last bit, whatever the sign of a zero. */
    private fun same(found: Double, wanted: Double, off: Double, what: String) {
        val near = abs(found - wanted) <= off * max(1.0, abs(wanted))
        assertTrue(found == wanted || near || (found.isNaN() && wanted.isNaN()), "$what: $found, Python has $wanted")
    }
}

/** A property that whoever runs the tests sets: build.gradle.kts, or tests/android/check.py. */
internal fun given(name: String): String =
    checkNotNull(System.getProperty(name)) { "tests need -D$name" }

@Suppress("UNCHECKED_CAST")
internal fun Any?.table() = this as Map<String, Any?>

internal fun Any?.list() = this as List<*>

internal fun Any?.numbers() = list().map { it.number() }.toDoubleArray()

/** NaN and the infinities are texts there. */
internal fun Any?.number(): Double = if (this is JsonNumber) double else (this as String).toDouble()

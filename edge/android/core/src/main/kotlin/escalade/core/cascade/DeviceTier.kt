// A tier on this device: one artifact, with early deferral; knows no network, no Android.
package escalade.core.cascade

import escalade.core.artifact.OpenedArtifact
import escalade.core.artifact.Step
import escalade.core.deferral.Early
import escalade.core.deferral.Gate
import escalade.core.text.GrowingText

/** One artifact as a tier. */
class DeviceTier(
    override val name: String,
    private val artifact: OpenedArtifact,
    private val nowS: () -> Double = { System.nanoTime() / 1e9 },
) : Tier {
    override val place = Place.DEVICE

    override fun ask(call: Call): TierAnswer? {
        val began = nowS()
        val prompt = artifact.encode(call.query.text)
        val longest = artifact.roomFor(prompt, call.query.maxNewTokens)
        val early = call.gate?.earlyStop(longest)
        val text = GrowingText(artifact::decode, call.query.stop)
        val steps = ArrayList<Step>()
        var stop = Stop.LENGTH
        val cancelled = artifact.program.generate(prompt, longest, call.cancelled) { step ->
            steps += step
            val piece = if (step.ended) "" else text.add(step.id)
            call.onEvent(Event.Token(name, step.id, step.logprob, piece))
            val isEarly = early?.add(step.logprob) == true
            val reason = when {
                step.ended -> Stop.END
                text.stopped -> Stop.STOP
                steps.size == longest -> Stop.LENGTH
                isEarly -> Stop.STOPPED_EARLY
                else -> null
            }
            stop = reason ?: stop
            reason == null
        }
        if (cancelled) return null
        // What may yet change is no text of an answer that is not finished.
        if (stop != Stop.STOPPED_EARLY) text.end()
        if (text.stopped) stop = Stop.STOP
        return TierAnswer(
            text = text.text,
            model = artifact.manifest.model.name,
            logprobs = steps.map { it.logprob },
            stop = stop,
            seconds = nowS() - began,
            draft = Draft(
                promptIds = prompt,
                ids = steps.filterNot { it.ended }.map { it.id },
                logprobs = steps.filterNot { it.ended }.map { it.logprob },
                tokenizerFingerprint = artifact.manifest.model.tokenizerFingerprint,
            ),
        )
    }

    companion object {
        /**
         * The gate that an artifact's manifest describes; null where nobody has calibrated.
         *
         * @param threshold tau in place of the manifest's. What is likely was calibrated at the manifest's,
         *   and holds nowhere else.
         */
        fun gateOf(artifact: OpenedArtifact, threshold: Double? = null, early: Early = Early.OFF): Gate? {
            val deferral = artifact.manifest.deferral
            val tau = threshold ?: deferral.threshold ?: return null
            return Gate(artifact.rule, tau, early, deferral.likely.takeIf { tau == deferral.threshold })
        }
    }
}

// An opened artifact: text in, scored tokens out; knows no threshold above it, no network, no Android.
package escalade.core.artifact

import escalade.core.ArtifactException
import escalade.core.ParityException
import escalade.core.PromptException
import escalade.core.deferral.DeferralRule
import escalade.core.deferral.MeanRule
import escalade.core.deferral.readRouter
import escalade.core.deferral.ruleNamed
import kotlin.math.abs

/** One generated token; [logprob] natural, under the model, out of the same forward pass. */
data class Step(val id: Int, val logprob: Double, val ended: Boolean)

/** Text to ids and back, as the artifact's tokenizer.json says. */
interface Tokenizer {
    /** The ids of a text, with the special tokens that the model expects. */
    fun encode(text: String): List<Int>

    /** The text of ids, special tokens left out. */
    fun decode(ids: List<Int>): String
}

/** A program that generates. */
interface Program : AutoCloseable {
    /**
     * Tell [onStep] of each token until the end of sequence, [longest], or it says false.
     *
     * The caller has checked that prompt and response fit into the window.
     *
     * @param prompt at least 1 id.
     * @param cancelled asked before each chunk of the prompt and each token.
     * @return whether it was cancelled.
     */
    fun generate(prompt: List<Int>, longest: Int, cancelled: () -> Boolean, onStep: (Step) -> Boolean): Boolean
}

/** A verified artifact with its program loaded and its tokenizer ready. One query at a time. */
class OpenedArtifact private constructor(
    val manifest: Manifest,
    val rule: DeferralRule,
    private val tokenizer: Tokenizer,
    val program: Program,
) : AutoCloseable {
    /** Prompt ids; throws [PromptException] where it is empty or leaves no room for an answer. */
    fun encode(prompt: String): List<Int> {
        if (prompt.isBlank()) throw PromptException("the prompt is empty; at least 1 character is needed")
        val window = manifest.model.window
        val most = window.toLong() * MOST_CHARACTERS_A_TOKEN
        if (prompt.length > most) {
            throw PromptException("the prompt has ${prompt.length} characters; at most $most are read")
        }
        if (!Charsets.UTF_8.newEncoder().canEncode(prompt)) throw PromptException("the prompt is not valid Unicode text")
        val ids = tokenizer.encode(prompt)
        if (ids.size !in 1 until window) {
            throw PromptException("the prompt has ${ids.size} tokens; this model takes 1 to ${window - 1} (window $window)")
        }
        return ids
    }

    /** The text of tokens, special ones left out. */
    fun decode(ids: List<Int>): String = if (ids.isEmpty()) "" else tokenizer.decode(ids)

    /** How many tokens a response may have. */
    fun roomFor(prompt: List<Int>, asked: Int?): Int {
        val wanted = asked ?: manifest.model.maxNewTokens
        if (wanted < 1) throw PromptException("max_new_tokens must be at least 1, got $wanted")
        return minOf(wanted, manifest.model.window - prompt.size)
    }

    override fun close() = program.close()

    private fun checkTokenizer() {
        for (golden in manifest.golden) {
            val ids = tokenizer.encode(golden.prompt)
            if (ids != golden.promptIds) {
                throw ParityException("${shown(golden)} is read as ${ids.take(20)}, the manifest says ${golden.promptIds.take(20)}")
            }
        }
    }

    private fun checkGolden(golden: Golden) {
        val steps = ArrayList<Step>()
        program.generate(golden.promptIds, golden.tokenIds.size, { false }) { steps.add(it) }
        val ids = steps.map { it.id }
        if (ids != golden.tokenIds) {
            throw ParityException("${shown(golden)} gave tokens $ids, the manifest says ${golden.tokenIds}")
        }
        val nll = MeanRule.score(DoubleArray(steps.size) { steps[it].logprob })
        if (!(abs(nll - golden.nll) <= manifest.nllTolerance)) {
            throw ParityException("${shown(golden)} gave NLL $nll, the manifest says ${golden.nll} (tolerance ${manifest.nllTolerance})")
        }
    }

    private fun shown(golden: Golden) = "golden prompt '${golden.prompt.take(80)}'"

    companion object {
        // No tokenizer makes less than a token of so many characters; it bounds what is tokenized at all.
        private const val MOST_CHARACTERS_A_TOKEN = 1024L

        /**
         * Open a verified folder and hold it to its golden prompts.
         *
         * @param tokenizerOf reads tokenizer.json.
         * @param programOf loads the program; called once the files are verified.
         * @throws ArtifactException a file is at fault.
         * @throws ParityException this device does not answer as the manifest says.
         */
        fun open(folder: Folder, tokenizerOf: (ByteArray) -> Tokenizer, programOf: (Folder) -> Program): OpenedArtifact {
            val manifest = folder.manifest
            val router = manifest.deferral.router
            val rule = if (router == null) ruleNamed(manifest.deferral.rule) else readRouter(folder.read(router), "${folder.file(router)}")
            val tokenizer = tokenizerOf(folder.read(TOKENIZER_NAME))
            val opened = OpenedArtifact(manifest, rule, tokenizer, programOf(folder))
            try {
                opened.checkTokenizer()
                // The surest answer: a near tie may fall otherwise on another processor.
                manifest.golden.minByOrNull { it.nll }?.let(opened::checkGolden)
            } catch (error: ParityException) {
                opened.close()
                throw error
            }
            return opened
        }
    }
}

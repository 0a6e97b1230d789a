// Runs an ONNX causal LM with onnxruntime-android; knows no text, no network, no screen.
//
// The cache of keys and values is what the program gave the step before, handed back as it is.
package escalade.app

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import escalade.core.ArtifactException
import escalade.core.artifact.Folder
import escalade.core.artifact.Program
import escalade.core.artifact.Step
import java.nio.FloatBuffer
import java.nio.LongBuffer

// Names that an exported program has; edge/escalade/edge/runtimes/program.py.
private const val INPUT_IDS = "input_ids"
private const val ATTENTION_MASK = "attention_mask"
private const val NEXT_TOKEN = "next_token"
private const val LOGPROB = "logprob"
private const val PAST = "past_key_values."
private const val PRESENT = "present."

// Tokens of a prompt that are read in one piece: a cancel waits for one.
private const val CHUNK_TOKENS = 128

/** A program that generates; one query at a time. */
class OrtProgram private constructor(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    private val folder: Folder,
) : Program {
    private val model = folder.manifest.model
    private val past = session.inputNames.filter { it.startsWith(PAST) }
    private val outputs = setOf(NEXT_TOKEN, LOGPROB) + past.map(::presentOf)

    init {
        val wanted = setOf(INPUT_IDS, ATTENTION_MASK, "${PAST}0.key") + outputs
        val lacks = wanted - session.inputNames - session.outputNames
        if (lacks.isNotEmpty()) {
            throw ArtifactException("${folder.manifest.program}: the graph lacks ${lacks.joinToString()}; was it written by `escalade export`?")
        }
    }

    override fun generate(prompt: List<Int>, longest: Int, cancelled: () -> Boolean, onStep: (Step) -> Boolean): Boolean {
        var unread = prompt
        var held = 0
        // What the last run gave: it owns the cache that the next one is handed.
        var said: OrtSession.Result? = null
        try {
            repeat(longest) {
                for (chunk in unread.chunked(CHUNK_TOKENS)) {
                    if (cancelled()) return true
                    held += chunk.size
                    val next = run(chunk, held, said)
                    said?.close()
                    said = next
                }
                val step = stepOf(checkNotNull(said))
                if (!onStep(step) || step.ended) return false
                unread = listOf(step.id)
            }
            return false
        } catch (error: OrtException) {
            throw ArtifactException("${folder.manifest.program}: ${error.message?.lineSequence()?.first()}", error)
        } finally {
            said?.close()
        }
    }

    override fun close() = session.close()

    private fun run(ids: List<Int>, total: Int, before: OrtSession.Result?): OrtSession.Result {
        val own = ArrayList<OnnxTensor>()
        fun made(tensor: OnnxTensor) = tensor.also(own::add)
        try {
            val feeds = HashMap<String, OnnxTensor>()
            feeds[INPUT_IDS] = made(longs(LongArray(ids.size) { ids[it].toLong() }))
            feeds[ATTENTION_MASK] = made(longs(LongArray(total) { 1 }))
            for (name in past) feeds[name] = if (before == null) made(empty()) else tensor(before, presentOf(name))
            return session.run(feeds, outputs)
        } finally {
            own.forEach(OnnxTensor::close)
        }
    }

    private fun stepOf(said: OrtSession.Result): Step {
        val id = tensor(said, NEXT_TOKEN).longBuffer.get(0).toInt()
        return Step(id, tensor(said, LOGPROB).floatBuffer.get(0).toDouble(), id in model.endOfSequenceIds)
    }

    private fun tensor(said: OrtSession.Result, name: String) = said.get(name).get() as OnnxTensor

    private fun longs(values: LongArray) =
        OnnxTensor.createTensor(environment, LongBuffer.wrap(values), longArrayOf(1, values.size.toLong()))

    private fun empty() = OnnxTensor.createTensor(
        environment,
        FloatBuffer.allocate(0),
        longArrayOf(1, model.kvHeads.toLong(), 0, model.headDim.toLong()),
    )

    companion object {
        // As the Python device: decoding waits for memory, which a few cores saturate.
        private const val MOST_THREADS = 4

        /** Load the program of a verified folder; its weights are mapped from the files that were hashed. */
        fun open(folder: Folder): OrtProgram {
            val environment = OrtEnvironment.getEnvironment()
            val threads = (Runtime.getRuntime().availableProcessors() / 2).coerceIn(1, MOST_THREADS)
            try {
                val options = OrtSession.SessionOptions().apply {
                    setIntraOpNumThreads(threads)
                    addConfigEntry("session.intra_op.allow_spinning", "0")
                }
                return OrtProgram(environment, environment.createSession(folder.file(folder.manifest.program).path, options), folder)
            } catch (error: OrtException) {
                throw ArtifactException("${folder.manifest.program}: onnxruntime cannot load it: ${error.message?.lineSequence()?.first()}", error)
            }
        }

        private fun presentOf(past: String) = PRESENT + past.removePrefix(PAST)
    }
}

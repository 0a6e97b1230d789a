// The manifest of an artifact, as much of it as this device acts on; reads nothing.
package escalade.core.artifact

import escalade.core.deferral.Likely

const val MANIFEST_NAME = "manifest.json"
const val TOKENIZER_NAME = "tokenizer.json"

/** Signs the manifest, which names everything else; so the manifest cannot name it. */
const val SIGNATURE_NAME = "model.sig"

/** A file of the artifact; [sha256] in hexadecimal. */
data class FileEntry(val sha256: String, val bytes: Long)

/** Who the model is, and what it can take. Lengths are tokens. */
data class ModelEntry(
    val name: String,
    val revision: String,
    val tokenizerFingerprint: String,
    val vocabularySize: Int,
    /** Longest prompt plus response. */
    val window: Int,
    val endOfSequenceIds: Set<Int>,
    val maxNewTokens: Int,
    val layers: Int,
    val kvHeads: Int,
    val headDim: Int,
)

/** Rule and threshold; [threshold] is null where nobody has calibrated. */
data class DeferralEntry(
    val rule: String,
    val router: String?,
    val threshold: Double?,
    val likely: Likely?,
)

/** A prompt and what this program answers to it; [nll] is the mean over [tokenIds]. */
data class Golden(val prompt: String, val promptIds: List<Int>, val tokenIds: List<Int>, val nll: Double)

/** Everything the device needs to know before it opens a program. */
data class Manifest(
    val program: String,
    val files: Map<String, FileEntry>,
    val model: ModelEntry,
    /** How the weights are stored: `none`, `float16`, `int8`, ... */
    val scheme: String,
    val deferral: DeferralEntry,
    val golden: List<Golden>,
    /** When it was exported, RFC 3339. */
    val created: String,
) {
    /** By how much equation 5 of one answer may differ on another machine. */
    val nllTolerance: Double get() = if (scheme in EXACT_SCHEMES) EXACT_NLL else ROUNDED_NLL

    private companion object {
        // What other machines' kernels may differ by; edge/escalade/edge/generation/checking.py.
        val EXACT_SCHEMES = setOf("none", "float16")
        const val EXACT_NLL = 1e-3
        const val ROUNDED_NLL = 0.05
    }
}

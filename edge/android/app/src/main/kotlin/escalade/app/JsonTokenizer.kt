// Text to ids and back by Rust's `tokenizers`, in DJL's binding; knows no model.
package escalade.app

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer
import escalade.core.artifact.Tokenizer
import java.io.ByteArrayInputStream

/** A tokenizer.json; golden prompts hold it to the manifest when the artifact is opened. */
class JsonTokenizer(raw: ByteArray) : Tokenizer {
    // Its own defaults cut at 512 tokens and pad.
    private val reader = HuggingFaceTokenizer.newInstance(
        ByteArrayInputStream(raw), mapOf("truncation" to "false", "padding" to "false"),
    )

    override fun encode(text: String): List<Int> = reader.encode(text, true, false).ids.map(Long::toInt)

    override fun decode(ids: List<Int>): String = reader.decode(LongArray(ids.size) { ids[it].toLong() }, true)
}

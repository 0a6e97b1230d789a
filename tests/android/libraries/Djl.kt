// DJL's tokenizers, as far as the app calls them; written by hand from their documentation.
package ai.djl.huggingface.tokenizers

import java.io.InputStream

class Encoding {
    val ids: LongArray get() = TODO()
}

class HuggingFaceTokenizer {
    fun encode(text: String, addSpecialTokens: Boolean, withOverflowingTokens: Boolean): Encoding = TODO("$text $addSpecialTokens $withOverflowingTokens")
    fun decode(ids: LongArray, skipSpecialTokens: Boolean): String = TODO("$ids $skipSpecialTokens")

    companion object {
        fun newInstance(vocab: InputStream, options: Map<String, String>): HuggingFaceTokenizer = TODO("$vocab $options")
    }
}

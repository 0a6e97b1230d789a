// A folder that `escalade export` wrote, as it is and altered.
package escalade.core

import escalade.core.artifact.Folder
import escalade.core.artifact.MANIFEST_NAME
import escalade.core.artifact.OpenedArtifact
import escalade.core.artifact.Program
import escalade.core.artifact.Step
import escalade.core.artifact.TOKENIZER_NAME
import escalade.core.artifact.Tokenizer
import escalade.core.artifact.parseManifest
import java.io.File
import java.nio.file.Files
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class ArtifactTest {
    private val exported = File(given("escalade.artifact"))
    private val raw = File(exported, MANIFEST_NAME).readBytes()

    @Test
    fun `every file is as the manifest says`() {
        val folder = Folder.open(exported)
        assertEquals(sha256(raw), folder.manifestSha256)
        assertTrue(TOKENIZER_NAME in folder.manifest.files && folder.manifest.program in folder.manifest.files)
        assertTrue(folder.manifest.golden.isNotEmpty() && folder.manifest.model.layers >= 1)
        assertEquals(folder.manifest.files.getValue(TOKENIZER_NAME).bytes, folder.read(TOKENIZER_NAME).size.toLong())
        Folder.open(exported, folder.manifestSha256)
        refused("its sha256 is") { Folder.open(exported, "0".repeat(64)) }
    }

    @Test
    fun `what was done to the folder is said`() {
        altered("altered: sha256") { File(it, TOKENIZER_NAME).run { writeBytes(readBytes().apply { this[size / 2]++ }) } }
        altered("bytes, the manifest says") { File(it, TOKENIZER_NAME).appendText(" ") }
        altered("missing, or not a regular file") { File(it, TOKENIZER_NAME).delete() }
        altered("extra.so: the manifest does not list it") { File(it, "extra.so").writeText("x") }
        altered("missing, or not a regular file") {
            val file = File(it, TOKENIZER_NAME)
            file.delete()
            Files.createSymbolicLink(file.toPath(), File(exported, TOKENIZER_NAME).absoluteFile.toPath())
        }
        altered("missing, or not a regular file") { File(it, MANIFEST_NAME).delete() }
    }

    @Test
    fun `what changes answers is taken or refused`() {
        val text = raw.decodeToString()
        for ((from, to, said) in listOf(
            Triple("\"schema\": 2", "\"schema\": 3", "schema 3; this version reads 2"),
            Triple("\"format\": \"onnx\"", "\"format\": \"executorch\"", "format must be onnx"),
            Triple("\"rule\": \"mean\"", "\"rule\": \"median\"", "deferral.rule must be one of"),
            Triple("\"rule\": \"mean\"", "\"rule\": \"router\"", "deferral.router must name a file"),
            Triple("\"$TOKENIZER_NAME\":", "\"../x\":", "leaves the artifact's folder"),
            Triple("\"$TOKENIZER_NAME\":", "\"other.json\":", "files does not list $TOKENIZER_NAME"),
            Triple("\"layers\":", "\"more\": 1, \"layers\":", "model.more is unknown"),
            Triple("\"program\":", "\"classification\": {}, \"program\":", "classification does not run here"),
            Triple("\"kv_bytes\": 4", "\"kv_bytes\": 2", "model.kv_bytes must be"),
        )) {
            val other = text.replaceFirst(from, to)
            assertTrue(other != text, "the manifest has no $from")
            refused(said) { parseManifest(other.toByteArray(), "m") }
        }
        refused("more than") { parseManifest(ByteArray((1 shl 20) + 1), "m") }
    }

    @Test
    fun `opening plays golden prompts`() {
        val folder = Folder.open(exported)
        opened(folder) { it }.close()
        refusedAs<ParityException>("gave tokens") { opened(folder) { it.copy(id = 1) } }
        refusedAs<ParityException>("gave NLL") { opened(folder) { it.copy(logprob = it.logprob - 1) } }
        val deaf = object : Tokenizer by Reciting(folder) {
            override fun encode(text: String) = listOf(1)
        }
        refusedAs<ParityException>("is read as") { OpenedArtifact.open(folder, { deaf }) { Replaying(folder) { it } } }
    }

    @Test
    fun `prompts that the model cannot take`() {
        val folder = Folder.open(exported)
        opened(folder) { it }.use { artifact ->
            for (prompt in listOf("", " \n", "\ud800", "x".repeat(folder.manifest.model.window * 1024 + 1))) {
                assertFailsWith<PromptException>(prompt.take(9)) { artifact.encode(prompt) }
            }
            assertFailsWith<PromptException> { artifact.roomFor(listOf(1), 0) }
            assertEquals(folder.manifest.model.window - 3, artifact.roomFor(listOf(1, 2, 3), Int.MAX_VALUE))
        }
    }

    private fun opened(folder: Folder, change: (Step) -> Step) =
        OpenedArtifact.open(folder, { Reciting(folder) }) { Replaying(folder, change) }

    private fun altered(said: String, change: (File) -> Unit) {
        val copy = Files.createTempDirectory("artifact").toFile()
        try {
            exported.copyRecursively(copy, overwrite = true)
            change(copy)
            refused(said) { Folder.open(copy) }
        } finally {
            copy.deleteRecursively()
        }
    }

    private fun refused(said: String, block: () -> Unit) = refusedAs<ArtifactException>(said, block)

    private inline fun <reified T : Throwable> refusedAs(said: String, block: () -> Unit) {
        val message = assertFailsWith<T> { block() }.message!!
        assertTrue(said in message, message)
    }
}

/** Reads golden prompts as the manifest does: onnxruntime and tokenizers are not on this JVM. */
internal class Reciting(private val folder: Folder) : Tokenizer {
    override fun encode(text: String) = folder.manifest.golden.find { it.prompt == text }?.promptIds ?: listOf(1, 2)

    override fun decode(ids: List<Int>) = ids.joinToString(" ")
}

/** Says what the manifest says: each token with the answer's mean log-probability. */
internal class Replaying(private val folder: Folder, private val change: (Step) -> Step) : Program {
    override fun generate(prompt: List<Int>, longest: Int, cancelled: () -> Boolean, onStep: (Step) -> Boolean): Boolean {
        val golden = folder.manifest.golden.first { it.promptIds == prompt }
        for (id in golden.tokenIds.take(longest)) {
            if (cancelled()) return true
            if (!onStep(change(Step(id, -golden.nll, id in folder.manifest.model.endOfSequenceIds)))) break
        }
        return false
    }

    override fun close() = Unit
}

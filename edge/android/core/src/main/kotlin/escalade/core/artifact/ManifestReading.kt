// Reads and checks a manifest; the files it names are not looked at.
//
// Written by `escalade export` (schema 2, edge/escalade/edge/artifact/manifest.py). What names a kind of
// model that does not run here is refused by name; nothing is ignored that changes answers.
package escalade.core.artifact

import escalade.core.ArtifactException
import escalade.core.deferral.Likely
import escalade.core.deferral.Statistic
import escalade.core.deferral.ruleNamed
import escalade.core.json.Fields
import escalade.core.json.JsonException
import escalade.core.json.JsonNumber
import escalade.core.json.parseJson

private const val SCHEMA = 2L

/** A manifest is a few kilobytes; reading more than this would be somebody's attack. */
const val MAX_MANIFEST_BYTES = 1 shl 20

// As edge/escalade/edge/artifact/integrity.py: what every file system takes, and no path.
private val NAME = Regex("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
private val DIGEST = Regex("[0-9a-f]{64}")
private val KINDS = listOf("classification", "embedding")

/**
 * Read a manifest out of its bytes.
 *
 * @param where the bytes came from, for messages.
 * @throws ArtifactException it is none of this schema, of a model that does not run here, or a value is
 *   out of range; names it.
 */
fun parseManifest(raw: ByteArray, where: String): Manifest {
    try {
        if (raw.size > MAX_MANIFEST_BYTES) throw JsonException("more than $MAX_MANIFEST_BYTES bytes")
        val content = parseJson(raw)
        val schema = ((content as? Map<*, *>)?.get("schema") as? JsonNumber)?.written
        if (schema != SCHEMA.toString()) throw JsonException("schema $schema; this version reads $SCHEMA")
        val manifest = manifestOf(Fields.fieldsOf(content, ""))
        check(manifest)
        return manifest
    } catch (error: JsonException) {
        throw ArtifactException("$where: ${error.message}", error)
    }
}

private fun manifestOf(top: Fields): Manifest {
    for (kind in KINDS) if (top.has(kind)) top.wrong(kind, "does not run here: only models that generate do")
    if (top.text("format") != "onnx") top.wrong("format", "must be onnx")
    if (top.has("encoder")) top.wrong("encoder", "does not run here: only decoders do")
    // What it was held against at export, by which versions: for people.
    top.leave("schema", "parity", "versions")
    val quantization = top.table("quantization")
    quantization.leave("block_size", "detail")
    val manifest = Manifest(
        program = top.text("program"),
        files = top.entries("files").mapValues { (_, one) -> fileOf(one) },
        model = modelOf(top.table("model")),
        scheme = quantization.text("scheme"),
        deferral = deferralOf(top.table("deferral")),
        golden = top.tables("golden").map(::goldenOf),
        created = top.text("created"),
    )
    quantization.done()
    top.done()
    return manifest
}

private fun fileOf(fields: Fields): FileEntry {
    val sha256 = fields.text("sha256")
    if (!DIGEST.matches(sha256)) fields.wrong("sha256", "must be 64 hexadecimal digits")
    return FileEntry(sha256, fields.whole("bytes", 0..Long.MAX_VALUE)).also { fields.done() }
}

private fun modelOf(fields: Fields): ModelEntry {
    if (fields.has("kv_bytes")) fields.whole("kv_bytes", 4L..4L)
    if (fields.has("decoder_start_id")) fields.wrong("decoder_start_id", "is of an encoder-decoder")
    // A template of a conversation: prompts here are texts. The others size its memory.
    fields.leave("chat", "parameters", "widest")
    return ModelEntry(
        name = fields.text("name"),
        revision = fields.text("revision"),
        tokenizerFingerprint = fields.text("tokenizer_fingerprint"),
        vocabularySize = fields.count("vocabulary_size", 1L shl 24),
        window = fields.count("window", 1L shl 24),
        endOfSequenceIds = fields.ids("end_of_sequence_ids", 0L..Int.MAX_VALUE, least = 1).toSet(),
        maxNewTokens = fields.count("max_new_tokens", 1L shl 24),
        layers = fields.count("layers", 1L shl 12),
        kvHeads = fields.count("kv_heads", 1L shl 12),
        headDim = fields.count("head_dim", 1L shl 14),
    ).also { fields.done() }
}

private fun deferralOf(fields: Fields): DeferralEntry {
    // How they were found; `escalade inspect` shows it.
    fields.leave("calibration", "router_training")
    return DeferralEntry(
        rule = fields.text("rule"),
        router = if (fields.has("router")) fields.text("router") else null,
        threshold = if (fields.has("threshold")) fields.number("threshold") else null,
        likely = if (fields.has("early")) likelyOf(fields.table("early")) else null,
    ).also { fields.done() }
}

private fun likelyOf(fields: Fields): Likely {
    fields.leave("miss_rate", "delta", "n", "misses", "stopped", "tokens_saved")
    val name = fields.text("statistic")
    val statistic = Statistic.entries.find { it.name.lowercase() == name }
        ?: fields.wrong("statistic", "must be one of mean, sum, min")
    return Likely(statistic, fields.number("level"), fields.count("min_tokens", 1L shl 24)).also { fields.done() }
}

private fun goldenOf(fields: Fields): Golden {
    val ids = 0L..Int.MAX_VALUE
    val promptIds = fields.ids("prompt_ids", ids, least = 1)
    val tokenIds = fields.ids("token_ids", ids, least = 1)
    return Golden(fields.text("prompt"), promptIds, tokenIds, fields.number("nll")).also { fields.done() }
}

private fun check(manifest: Manifest) {
    fun need(holds: Boolean, message: () -> String) {
        if (!holds) throw JsonException(message())
    }
    val listed = HashMap<String, String>()
    for (name in manifest.files.keys) {
        need(NAME.matches(name)) { "file name '${name.take(200)}' leaves the artifact's folder" }
        // Some file systems know no case.
        val twin = listed.put(name.lowercase(), name)
        need(twin == null) { "file names $twin and $name differ by case alone" }
    }
    for (name in listOf(MANIFEST_NAME, SIGNATURE_NAME)) need(name !in listed) { "files must not list $name" }
    val (deferral, model) = manifest.deferral to manifest.model
    for (name in listOfNotNull(manifest.program, TOKENIZER_NAME, deferral.router)) {
        need(name in manifest.files) { "files does not list ${name.take(80)}" }
    }
    need((deferral.rule == "router") == (deferral.router != null)) {
        "deferral.router must name a file where the rule is 'router', and nowhere else"
    }
    if (deferral.router == null) {
        try {
            ruleNamed(deferral.rule)
        } catch (error: IllegalArgumentException) {
            throw JsonException("deferral.${error.message}")
        }
    }
    need(deferral.likely == null || deferral.threshold != null) {
        "deferral.early: there is no threshold that a score could reach"
    }
    for (golden in manifest.golden) {
        val shown = "golden prompt '${golden.prompt.take(80)}'"
        val last = model.vocabularySize - 1
        need((golden.promptIds + golden.tokenIds).all { it <= last }) { "$shown: token ids must be in 0-$last" }
        need(golden.promptIds.size < model.window) { "$shown: longer than the window, ${model.window}" }
    }
}
